// SPDX-License-Identifier: Apache-2.0

/// When flows are taken to be observed.
///
/// An agent's clock says so, as long as it can be true. A row of a day that is long gone would be dropped by the table's
/// TTL, unseen and acknowledged, and every odd day is a partition of its own.
enum ObservationTime {
    /// How far ahead of the server's clock an agent's may be, in seconds.
    static let maximumLead: UInt32 = 600

    /// How long flows may have waited for a server, in seconds: a week.
    static let maximumDelay: UInt32 = 7 * 86_400

    /// The second of an observation, and whether it is the agent's: an agent's that cannot be true gives way to `now`.
    static func second(of milliseconds: UInt64, now: UInt32) -> (UInt32, isCredible: Bool) {
        let second = milliseconds / 1000
        let earliest = UInt64(now > maximumDelay ? now - maximumDelay : 0)
        guard (earliest...UInt64(now) + UInt64(maximumLead)).contains(second) else { return (now, false) }
        return (UInt32(clamping: second), true)
    }
}
