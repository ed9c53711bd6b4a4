// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time of day, without Foundation. The system's clock may be set at any time, also backwards.
///
/// Code that a test gives another time takes one of these functions as a parameter.
public enum WallClock {
    /// The time since the Unix epoch.
    public static func now() -> Duration {
        let time = read()
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// The whole seconds since the Unix epoch, as flows and labels carry them; the last one is in 2106.
    public static func seconds() -> UInt32 { UInt32(clamping: read().tv_sec) }

    private static func read() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time
    }
}
