// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Keeps what happens again and again from filling the log: so many lines of a kind in a while, then a number.
struct LogGate {
    private struct Kind {
        var began: NIODeadline
        var lines = 0
        var suppressed: UInt64 = 0
    }

    private let lines: Int
    private let interval: TimeAmount
    private var kinds: [String: Kind] = [:]

    init(lines: Int = 5, interval: TimeAmount = .seconds(10)) {
        self.lines = lines
        self.interval = interval
    }

    /// Whether a line of a kind is written, and how many before it were not; nil where it is not. Kinds are few.
    mutating func admit(_ name: String, now: NIODeadline = .now()) -> UInt64? {
        var kind = kinds[name] ?? Kind(began: now)
        defer { kinds[name] = kind }
        if now - kind.began >= interval { kind = Kind(began: now, suppressed: kind.suppressed) }
        guard kind.lines < lines else {
            kind.suppressed += 1
            return nil
        }
        kind.lines += 1
        defer { kind.suppressed = 0 }
        return kind.suppressed
    }
}
