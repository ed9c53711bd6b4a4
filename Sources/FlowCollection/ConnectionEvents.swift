// SPDX-License-Identifier: Apache-2.0

/// The events of ended connections, each with the connection's counters since it was last collected.
///
/// A source of events is created with a handler, which is called on the receiving thread with the ended connections of
/// up to ``maximumReceived`` events.
public protocol ConnectionEvents: AnyObject, Sendable {
    /// The events' name in logs, in the plural.
    var name: String { get }

    /// The number of events that can wait to be received.
    var capacity: Int { get }

    /// The maximum number of events that one call of ``receive()`` receives.
    var maximumReceived: Int { get }

    /// The statistics so far.
    var statistics: EventStatistics { get }

    /// The reader's own counters, the same ones at every call.
    var counters: [ReaderCounter] { get }

    /// The reader's own conditions that do not hold, each with the problem and its remedy.
    var problems: [SelfCheck.Condition: String] { get }

    /// Waits until events have arrived, at most for this many milliseconds or until ``interrupt()``.
    func wait(milliseconds: Int)

    /// Ends all current and future waits. Callable from any thread.
    func interrupt()

    /// Receives waiting events and passes their connections to the handler.
    ///
    /// - Returns: The number of events received; 0 if none were waiting.
    func receive() throws -> Int
}
