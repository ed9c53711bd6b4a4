// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time of day, without Foundation.
public enum WallClock {
    /// The time since the Unix epoch.
    public static func now() -> Duration {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return .seconds(now.tv_sec) + .nanoseconds(now.tv_nsec)
    }
}
