// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The CPU time of the thread that asks.
public enum ThreadClock {
    /// What the thread has used so far.
    public static func now() -> Duration {
        var now = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
        return .seconds(now.tv_sec) + .nanoseconds(now.tv_nsec)
    }
}
