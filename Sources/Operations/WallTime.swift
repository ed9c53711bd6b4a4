// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc

/// A time of the system's clock.
struct WallTime: Equatable, Sendable, CustomStringConvertible {
    /// Seconds since the Unix epoch.
    var seconds: Int
    /// Milliseconds of the second.
    var milliseconds = 0

    static var now: WallTime {
        let now = WallClock.now()
        return WallTime(seconds: now.wholeSeconds, milliseconds: now.milliseconds % 1_000)
    }

    /// The time in UTC (RFC 3339): `2025-01-31T12:00:00.000Z`.
    var description: String {
        var seconds = time_t(seconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int, _ count: Int) -> String {
            let text = "\(number)"
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = [(Int(parts.tm_year) + 1900, 4), (Int(parts.tm_mon) + 1, 2), (Int(parts.tm_mday), 2)]
        let time = [(Int(parts.tm_hour), 2), (Int(parts.tm_min), 2), (Int(parts.tm_sec), 2)]
        return date.map(digits).joined(separator: "-") + "T"
            + time.map(digits).joined(separator: ":") + ".\(digits(milliseconds, 3))Z"
    }
}
