// SPDX-License-Identifier: Apache-2.0

/// What one collection saw.
public struct CollectionReport: Sendable {
    /// Entries that the source showed, whatever they carried.
    public var entries = 0
    /// Entries that were left out.
    public var ignored = IgnoredFlows()
    /// Entries that could not be read; their counters are lost.
    public var malformedEntries = 0
    /// Entries that ended before their counters could be taken; their events carry what they had counted.
    public var goneEntries = 0
    /// Requests for an entry's counters without an answer; the counters may be lost.
    public var lostAnswers = 0
    /// Entries whose counters the source refused to give; they go on counting.
    public var refusedEntries = 0
    /// The reason of the last refusal.
    public var refusal: (any Error)?
    /// Entries whose counters may have been zeroed unread.
    public var boundaryHits = 0
    /// Whether entries may have been passed over because the table changed; the next collection finds them.
    public var isInterrupted = false
    /// Whether `shouldContinue` ended the collection; entries that were not reached go on counting.
    public var isCutShort = false
    /// Why the collection ended early; nil where it reached its end.
    public var error: (any Error)?

    /// A collection that has seen nothing.
    public init() {}
}
