// SPDX-License-Identifier: Apache-2.0

/// The observation time of flows.
///
/// The agent's clock decides, as long as its time is credible. The table's TTL would drop a row of a day long past,
/// although it was acknowledged and without any error, and each stray day is a partition of its own.
enum ObservationTime {
    /// Maximum lead of an agent's clock over the server's, in seconds.
    static let maximumLead: UInt32 = 600

    /// Maximum age of flows that waited for a server, in seconds: a week.
    static let maximumDelay: UInt32 = 7 * 86_400

    /// Returns the second of an observation; `now`, with `isCredible` false, if the agent's time is not credible.
    static func second(of milliseconds: UInt64, now: UInt32) -> (UInt32, isCredible: Bool) {
        let second = milliseconds / 1000
        let earliest = UInt64(now > maximumDelay ? now - maximumDelay : 0)
        guard (earliest...UInt64(now) + UInt64(maximumLead)).contains(second) else { return (now, false) }
        return (UInt32(clamping: second), true)
    }
}
