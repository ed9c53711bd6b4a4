// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire

/// The block in which a server inserts a batch, as the server has announced it (``Held``). If the agent loses that server
/// process, another one finds out by the token whether the block is stored.
struct AnnouncedBlock: Hashable, Sendable {
    /// The block's deduplication token.
    let token: UInt128
    /// The day of the block's rows, in days since the Unix epoch.
    let day: UInt16
    /// The server process that has announced the block.
    let server: UInt128
    /// The time at which the announcement arrived.
    let arrival: AnnouncementTime
}

/// A point in time, on a clock that is never set and on one that outlives the process.
struct AnnouncementTime: Hashable, Sendable {
    /// The reading of the clock that is never set; nil for a time in an earlier process.
    var steady: ContinuousClock.Instant?
    /// The milliseconds since the Unix epoch.
    var wallMilliseconds: UInt64

    /// Returns the present.
    static func now() -> AnnouncementTime {
        AnnouncementTime(steady: .now, wallMilliseconds: UInt64(max(0, WallClock.now().milliseconds)))
    }

    /// Returns the time since an earlier reading: zero if the system's clock, on which alone both are known, was set back.
    func duration(since earlier: AnnouncementTime) -> Duration {
        if let steady, let start = earlier.steady { return start.duration(to: steady) }
        return .milliseconds(wallMilliseconds - min(wallMilliseconds, earlier.wallMilliseconds))
    }
}
