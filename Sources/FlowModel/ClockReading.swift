// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The time of day and the time since the host was booted, read together.
///
/// The time of day may be set at any time. The time since boot is never set, and time in which the host was suspended
/// counts (CLOCK_BOOTTIME); where a clock is slewed, both advance at the same rate.
public struct ClockReading: Equatable, Sendable {
    /// The time of day, in milliseconds since the Unix epoch.
    public var wallMilliseconds: Int64
    /// The time since the host was booted, in milliseconds.
    public var bootMilliseconds: Int64

    /// Makes a reading from its parts.
    public init(wallMilliseconds: Int64, bootMilliseconds: Int64) {
        self.wallMilliseconds = wallMilliseconds
        self.bootMilliseconds = bootMilliseconds
    }

    /// The lead of the time of day over the time since boot, in milliseconds. It changes when the clock is set.
    public var wallLead: Int64 { wallMilliseconds - bootMilliseconds }

    /// Reads the host's clocks.
    public static func now() -> ClockReading {
        // The thread may lose its processor between two readings: the middle of the outer ones halves the error.
        let before = milliseconds(of: CLOCK_BOOTTIME)
        let wall = milliseconds(of: CLOCK_REALTIME)
        let after = milliseconds(of: CLOCK_BOOTTIME)
        return ClockReading(wallMilliseconds: wall, bootMilliseconds: before + (after - before) / 2)
    }

    private static func milliseconds(of clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
