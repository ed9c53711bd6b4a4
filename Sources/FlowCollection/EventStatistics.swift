// SPDX-License-Identifier: Apache-2.0

/// Statistics of the events of ended connections.
public struct EventStatistics: Sendable {
    /// Events that could be decoded.
    public var events: UInt64 = 0
    /// Events that were ignored, by reason.
    public var ignored = IgnoredFlows()
    /// Times that events began to be dropped because no more could wait.
    public var overruns: UInt64 = 0
    /// Events that were dropped.
    public var droppedEvents: UInt64 = 0
    /// An estimate of the network bytes in dropped events.
    public var droppedBytesEstimate: UInt64 = 0
    /// Events that could not be decoded; their counters are lost.
    public var malformedEvents: UInt64 = 0

    /// Makes statistics of no events.
    public init() {}
}
