// SPDX-License-Identifier: Apache-2.0

internal import FlowModel

/// One mention of a prefix in a list.
struct ListedPrefix: Sendable {
    let prefix: IPPrefix
    /// How many mentions came before it.
    let order: UInt32
    /// What the mention says, as a number whose meaning is the list's own: of a place or of a tag.
    let label: Int32
}

extension ListedPrefix: Comparable {
    /// IPv4 before IPv6, a block before those in it, mentions of one block in their order.
    static func < (left: ListedPrefix, right: ListedPrefix) -> Bool {
        let (first, second) = (left.prefix.network, right.prefix.network)
        if first.isIPv4 != second.isIPv4 { return first.isIPv4 }
        if first != second { return first < second }
        if left.prefix.length != right.prefix.length { return left.prefix.length < right.prefix.length }
        return left.order < right.order
    }
}

extension [ListedPrefix] {
    /// Adds a mention after all others.
    mutating func append(_ prefix: IPPrefix, label: Int32) {
        append(ListedPrefix(prefix: prefix, order: UInt32(count), label: label))
    }

    /// Calls `body` once for each prefix of a sorted list, with all mentions of it.
    func forEachPrefix(_ body: (ArraySlice<ListedPrefix>) -> Void) {
        var start = 0
        while start < count {
            var end = start + 1
            while end < count, self[end].prefix == self[start].prefix { end += 1 }
            body(self[start..<end])
            start = end
        }
    }
}
