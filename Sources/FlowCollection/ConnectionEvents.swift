// SPDX-License-Identifier: Apache-2.0

/// The events of ended connections, each with what the connection had carried since it was last collected.
///
/// A source of events is made with a handler, which gets the ended connections of up to ``maximumReceived`` events at a
/// time on the thread that receives them.
public protocol ConnectionEvents: AnyObject, Sendable {
    /// What logs call the events, in plural.
    var name: String { get }

    /// The number of events that can wait to be received.
    var capacity: Int { get }

    /// The most events that one call of ``receive()`` takes.
    var maximumReceived: Int { get }

    /// What has been received so far.
    var statistics: EventStatistics { get }

    /// Counters of the reader's own, always the same ones.
    var counters: [ReaderCounter] { get }

    /// Conditions of the reader's own that do not hold, each with what to do about it.
    var problems: [SelfCheck.Condition: String] { get }

    /// Waits until events have come, at most for so many milliseconds.
    func wait(milliseconds: Int)

    /// Takes events that have come and hands on what they tell.
    ///
    /// - Returns: The number of events taken; 0 where none waited.
    func receive() throws -> Int
}
