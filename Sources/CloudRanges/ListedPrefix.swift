// SPDX-License-Identifier: Apache-2.0

internal import FlowModel

/// One mention of a prefix in a list.
struct ListedPrefix: Sendable {
    let prefix: IPPrefix
    /// The number of mentions before this one.
    let order: UInt32
    /// The number of a place or of a tag, whichever the list's reader assigns.
    let label: Int32
}

extension ListedPrefix: Comparable {
    /// Orders IPv4 before IPv6, a block before the blocks inside it, and mentions of one block as listed.
    static func < (left: ListedPrefix, right: ListedPrefix) -> Bool {
        let (first, second) = (left.prefix.network, right.prefix.network)
        if first.isIPv4 != second.isIPv4 { return first.isIPv4 }
        if first != second { return first < second }
        if left.prefix.length != right.prefix.length { return left.prefix.length < right.prefix.length }
        return left.order < right.order
    }
}

extension [ListedPrefix] {
    /// Appends a mention, ordered after all others.
    mutating func append(_ prefix: IPPrefix, label: Int32) {
        append(ListedPrefix(prefix: prefix, order: UInt32(count), label: label))
    }

    /// Calls `body` once for each prefix of a sorted list, with all mentions of that prefix.
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
