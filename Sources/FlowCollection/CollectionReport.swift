// SPDX-License-Identifier: Apache-2.0

/// The result of one collection.
public struct CollectionReport: Sendable {
    /// All entries that the source returned, ignored ones included.
    public var entries = 0
    /// Entries that were ignored, by reason.
    public var ignored = IgnoredFlows()
    /// Entries that could not be decoded; their counters are lost.
    public var malformedEntries = 0
    /// Entries that ended before their counters could be read; their events carry the counters.
    public var goneEntries = 0
    /// Requests for an entry's counters without a response; the counters may be lost.
    public var lostAnswers = 0
    /// Entries whose counters the source refused to return; they keep counting.
    public var refusedEntries = 0
    /// The source's error for the last of these entries.
    public var refusal: (any Error)?
    /// Entries whose counters may have been zeroed unread.
    public var boundaryHits = 0
    /// Whether entries may have been missed because the table changed; the next collection finds them.
    public var isInterrupted = false
    /// Whether `shouldContinue` ended the collection; entries that were not reached keep counting.
    public var isCutShort = false
    /// The error that ended the collection early; nil if there was none.
    public var error: (any Error)?

    /// Makes an empty report.
    public init() {}
}
