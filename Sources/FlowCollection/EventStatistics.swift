// SPDX-License-Identifier: Apache-2.0

/// What has become of the events of ended connections.
public struct EventStatistics: Sendable {
    /// Events that could be read.
    public var events: UInt64 = 0
    /// Events that were left out.
    public var ignored = IgnoredFlows()
    /// Times that events began to be dropped because no more could wait.
    public var overruns: UInt64 = 0
    /// Events that were dropped.
    public var droppedEvents: UInt64 = 0
    /// An estimate of the bytes that they carried.
    public var droppedBytesEstimate: UInt64 = 0
    /// Events that could not be read; what they counted is lost.
    public var malformedEvents: UInt64 = 0

    /// Nothing has been received.
    public init() {}
}
