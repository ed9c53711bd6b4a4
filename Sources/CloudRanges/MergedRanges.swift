// SPDX-License-Identifier: Apache-2.0

package import ClusterModel

/// All lists and the user's own ranges merged: every prefix once.
package struct MergedRanges: Sendable {
    /// The ranges, IPv4 before IPv6, a block before the blocks inside it.
    package let ranges: [CloudRange]
    /// Prefixes that more than one cloud's lists contain.
    package let contested: Int

    /// Merges lists. For a prefix given several times, the first of these wins: the user's own range (the last one, if
    /// several), AWS's, Google's cloud.json, Azure's, Google's goog.json.
    package init(_ lists: [RangeList], named: [CloudRange] = []) {
        var places = named.map(\.place)
        var mentions: [ListedPrefix] = []
        mentions.reserveCapacity(named.count + lists.reduce(0) { $0 + $1.count })
        for (index, range) in named.enumerated().reversed() {
            mentions.append(range.prefix, label: Int32(index))
        }
        for provider in RangeProvider.allCases {
            for list in lists where list.provider == provider {
                for mention in list.prefixes {
                    mentions.append(mention.prefix, label: Int32(places.count) + mention.label)
                }
                places += list.places
            }
        }
        mentions.sort()
        var ranges: [CloudRange] = []
        ranges.reserveCapacity(mentions.count)
        var contested = 0
        mentions.forEachPrefix { mentions in
            let first = mentions[mentions.startIndex]
            ranges.append(CloudRange(prefix: first.prefix, place: places[Int(first.label)]))
            let listed = mentions.filter { $0.label >= named.count }.map { places[Int($0.label)].cloud }
            if listed.contains(where: { $0 != listed[0] }) { contested += 1 }
        }
        self.ranges = ranges
        self.contested = contested
    }
}
