// SPDX-License-Identifier: Apache-2.0

/// A set of conntrack zones, written as `all` or as a list of zones and ranges: `0,5,100-199`. With `!` before each
/// item, the set is all zones except these: `!5,!100-199`.
public struct ZoneSet: Equatable, Sendable, CustomStringConvertible {
    /// All zones.
    public static let all = ZoneSet(ranges: [], isComplement: true)

    private let ranges: [ClosedRange<UInt16>]
    /// True if ``ranges`` are the excluded zones.
    private let isComplement: Bool

    private init(ranges: [ClosedRange<UInt16>], isComplement: Bool) {
        self.ranges = ranges
        self.isComplement = isComplement
    }

    /// Parses a list; nil if it is empty, has a number above 65535, or mixes included and excluded zones.
    public init?(_ text: String) {
        let words = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        if words == ["all"] {
            self = .all
            return
        }
        var ranges: [ClosedRange<UInt16>] = []
        let isComplement = words.first?.first == "!"
        for word in words {
            guard (word.first == "!") == isComplement else { return nil }
            let bounds = word.dropFirst(isComplement ? 1 : 0).split(separator: "-", omittingEmptySubsequences: false)
            let numbers = bounds.compactMap { UInt16($0) }
            guard let first = numbers.first, let last = numbers.last, numbers.count == bounds.count,
                numbers.count <= 2, first <= last
            else { return nil }
            ranges.append(first...last)
        }
        self.init(ranges: ranges, isComplement: isComplement)
    }

    /// The set in the format that ``init(_:)`` parses.
    public var description: String {
        if ranges.isEmpty { return "all" }
        let sign = isComplement ? "!" : ""
        return ranges.map { range in
            sign + (range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)")
        }.joined(separator: ",")
    }

    /// Returns whether the zones of both directions are in the set.
    func contains(_ zone: ConntrackZone) -> Bool {
        contains(zone.original) && (zone.original == zone.reply || contains(zone.reply))
    }

    private func contains(_ zone: UInt16) -> Bool {
        ranges.contains { $0.contains(zone) } != isComplement
    }
}
