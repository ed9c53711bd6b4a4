// SPDX-License-Identifier: Apache-2.0

package import FlowModel
import Glibc

extension WallClock {
    /// Returns a time since the Unix epoch as a time in UTC (RFC 3339): `2025-01-31T12:00:00.000Z`.
    package static func text(of time: Duration) -> String {
        var seconds = time_t(time.wholeSeconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int, _ count: Int) -> String {
            let text = "\(number)"
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = [(Int(parts.tm_year) + 1900, 4), (Int(parts.tm_mon) + 1, 2), (Int(parts.tm_mday), 2)]
        let clock = [(Int(parts.tm_hour), 2), (Int(parts.tm_min), 2), (Int(parts.tm_sec), 2)]
        let milliseconds = digits(Int(time.attoseconds / 1_000_000_000_000_000 % 1_000), 3)
        return date.map(digits).joined(separator: "-") + "T"
            + clock.map(digits).joined(separator: ":") + ".\(milliseconds)Z"
    }
}
