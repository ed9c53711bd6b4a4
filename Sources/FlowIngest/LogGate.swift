// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Limits repeated log lines: of each kind, `lines` are written per `interval`, and further ones are only counted.
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

    /// Returns nil if a line of this kind is suppressed, else how many were suppressed before it. Kinds are never
    /// removed, so there must be few.
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
