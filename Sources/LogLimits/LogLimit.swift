// SPDX-License-Identifier: Apache-2.0

/// A limit on repeated log lines: an interval admits a fixed number of lines of each kind, and counts the further ones.
///
/// The interval of a kind begins with its first line. The limit is a value without a clock: it is given the time.
public struct LogLimit<Kind: Hashable & Sendable>: Sendable {
    /// A time of a clock that is never set.
    public typealias Instant = ContinuousClock.Instant

    private struct Interval {
        let begin: Instant
        var lines = 0
        var suppressed: UInt64 = 0
    }

    /// The maximum number of remembered kinds.
    package static var maximumKinds: Int { 256 }

    private let lines: Int
    private let length: Duration
    private var intervals: [Kind: Interval] = [:]

    /// Makes a limit that has admitted no line.
    ///
    /// - Parameters:
    ///   - lines: The number of lines of a kind that are admitted per interval.
    ///   - interval: The length of an interval.
    public init(lines: Int = 1, per interval: Duration) {
        self.lines = lines
        length = interval
    }

    /// The number of remembered kinds.
    public var count: Int { intervals.count }

    /// Whether a line of this kind can be counted without forgetting the kinds that are remembered.
    public func hasRoom(for kind: Kind) -> Bool { count < Self.maximumKinds || intervals[kind] != nil }

    /// Returns nil if a line of this kind is suppressed, else how many were suppressed before it.
    public mutating func admit(_ kind: Kind, at now: Instant) -> UInt64? {
        makeRoom(for: kind, at: now)
        var interval = intervals[kind] ?? Interval(begin: now)
        defer { intervals[kind] = interval }
        if isOver(interval, at: now) { interval = Interval(begin: now, suppressed: interval.suppressed) }
        guard interval.lines < lines else {
            interval.suppressed += 1
            return nil
        }
        interval.lines += 1
        defer { interval.suppressed = 0 }
        return interval.suppressed
    }

    /// Forgets the kinds whose intervals are over, and returns those of which lines were suppressed, the oldest first.
    public mutating func takeEnded(at now: Instant) -> [(kind: Kind, suppressed: UInt64)] {
        let length = length
        return take { now - $0.begin >= length }
    }

    /// Forgets all kinds, and returns those of which lines were suppressed, the oldest first.
    public mutating func takeAll() -> [(kind: Kind, suppressed: UInt64)] { take { _ in true } }

    /// Forgets all kinds and their counts: the next line of every kind is admitted.
    public mutating func reset() { intervals = [:] }

    private func isOver(_ interval: Interval, at now: Instant) -> Bool { now - interval.begin >= length }

    private mutating func makeRoom(for kind: Kind, at now: Instant) {
        guard !hasRoom(for: kind) else { return }
        intervals = intervals.filter { !isOver($0.value, at: now) }
        if !hasRoom(for: kind) { reset() }
    }

    private mutating func take(_ isTaken: (Interval) -> Bool) -> [(kind: Kind, suppressed: UInt64)] {
        let taken = intervals.filter { isTaken($0.value) }
        for kind in taken.keys { intervals[kind] = nil }
        return taken.filter { $0.value.suppressed > 0 }.sorted { $0.value.begin < $1.value.begin }
            .map { ($0.key, $0.value.suppressed) }
    }
}
