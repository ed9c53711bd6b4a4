// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire

/// The difference of an agent's clock from the server's, estimated from the times at which the agent sends messages.
///
/// A message's arrival minus its sending is the difference of the clocks plus the message's delay. A delay
/// is never negative, so the least value of some minutes is the estimate. Both times are of clocks that are never set
/// (``SendTime/steadyMilliseconds``, ``ClockReading/bootMilliseconds``): a step of either clock does not change the
/// estimate.
struct AgentClock {
    /// The greatest difference of the clocks, in milliseconds, up to which observation times are left as they are.
    static let toleranceMilliseconds: Int64 = 1_000
    /// The number of minutes of which the least value is the estimate. Within them, clocks that are not synchronised
    /// drift apart by less than 0.1 s.
    static let maximumMinutes = 10
    /// The number of minutes with a value that are kept even if they are older: the first messages after a stall of the
    /// server have waited, which they do not show.
    static let minimumValues = 3

    /// The least value of a minute.
    private struct Minute {
        let number: Int64
        var least: Int64
    }

    /// The last minutes with a value, in ascending order.
    private var minutes: [Minute] = []
    /// ``SendTime/clockSetMilliseconds`` of the last heartbeat or `Hello`: the present setting of the agent's clock.
    private var clockSet: Int64 = 0

    /// The server's time since boot, less the agent's steady time; nil while it is unknown.
    private var difference: Int64? { minutes.lazy.map(\.least).min() }

    /// Whether the estimate is of messages of more than one minute. The delay of a single message may be more than the
    /// tolerance.
    var isConfirmed: Bool { minutes.count > 1 }

    /// Records the time of a message that is read now.
    ///
    /// - Parameters:
    ///   - time: The time at which it was sent.
    ///   - now: The server's clocks.
    ///   - mayHaveWaited: Whether the message may have waited to be sent or to be read. Its value then counts if it is
    ///     less than the estimate, which shows that the estimate is too high.
    mutating func record(_ time: SendTime, at now: ClockReading, mayHaveWaited: Bool) {
        if !mayHaveWaited { clockSet = time.clockSetMilliseconds }
        let value = now.bootMilliseconds - time.steadyMilliseconds
        if mayHaveWaited {
            guard let difference, value < difference else { return }
        }
        let number = now.bootMilliseconds / 60_000
        if let last = minutes.last, last.number == number {
            minutes[minutes.count - 1].least = min(last.least, value)
        } else {
            minutes.append(Minute(number: number, least: value))
        }
        while minutes.count > Self.minimumValues, number - minutes[0].number >= Int64(Self.maximumMinutes) {
            minutes.removeFirst()
        }
    }

    /// Returns how far the agent's clock is ahead of the server's, in milliseconds, negative if it is behind; nil while
    /// that is unknown.
    func lead(at now: ClockReading) -> Int64? { lead(at: now, clockSet: clockSet) }

    private func lead(at now: ClockReading, clockSet: Int64) -> Int64? {
        difference.map { clockSet - $0 - now.wallLead }
    }

    /// Returns the time of an observation by the server's clock, at most the present one: the agent's time, less the
    /// difference of the clocks if that is known and beyond the tolerance.
    ///
    /// - Parameters:
    ///   - milliseconds: The time of the observation by the agent's clock, in milliseconds since the Unix epoch.
    ///   - time: The time at which the batch was sent.
    ///   - now: The server's clocks.
    func observation(_ milliseconds: UInt64, sentAt time: SendTime, now: ClockReading) -> UInt64 {
        guard let lead = lead(at: now, clockSet: time.clockSetMilliseconds),
            lead.magnitude > UInt64(Self.toleranceMilliseconds), milliseconds <= UInt64(SendTime.maximumMilliseconds)
        else { return milliseconds }
        return UInt64(clamping: min(Int64(milliseconds) - lead, now.wallMilliseconds))
    }
}
