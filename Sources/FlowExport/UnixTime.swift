// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time of day.
enum UnixTime {
    /// Returns the time in seconds since the Unix epoch.
    static func now() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }
}
