// SPDX-License-Identifier: Apache-2.0

/// Detects that a streamed response has gone silent, because the server or the path to it is gone without closing the
/// connection.
///
/// A watch sends something at least as often as its bookmarks come, about once a minute (`defaultBookmarkFrequency` of
/// kube-apiserver's `storage/cacher/cacher.go`).
struct WatchPulse {
    /// The number of missing bookmarks after which a watch counts as silent.
    private static let missingBookmarks = 2.5
    /// The lower bound of the longest silence, for servers that send bookmarks more often than usual.
    private static let shortestSilence = Duration.seconds(10)
    /// The number of intervals in a watch after which the server's own interval is used.
    private static let convincingIntervals = 3

    private let bookmarkInterval: Duration
    private let listSilence: Duration
    private var isListing: Bool
    /// Whether the server is known to send bookmarks.
    private(set) var hasBookmarks: Bool
    private var lastSign = ContinuousClock.now
    private var lastBookmark: ContinuousClock.Instant?
    private var intervals = 0
    private var longestInterval = Duration.zero

    /// Makes a pulse whose first silence begins now.
    ///
    /// - Parameters:
    ///   - bookmarkInterval: The interval of bookmarks until more is known of the server.
    ///   - listSilence: The longest silence while objects are listed.
    ///   - isListing: Whether the response is a list or begins with one.
    ///   - hasBookmarks: Whether the server is known to send bookmarks. Older servers send none for a resource that has
    ///     not changed since they started.
    init(bookmarkInterval: Duration, listSilence: Duration, isListing: Bool, hasBookmarks: Bool = false) {
        self.bookmarkInterval = bookmarkInterval
        self.listSilence = listSilence
        self.isListing = isListing
        self.hasBookmarks = hasBookmarks
    }

    /// The longest silence before the response is given up.
    var longestSilence: Duration {
        if isListing { return listSilence }
        guard intervals >= Self.convincingIntervals, longestInterval < bookmarkInterval else {
            return bookmarkInterval * Self.missingBookmarks
        }
        return max(longestInterval * Self.missingBookmarks, min(Self.shortestSilence, bookmarkInterval))
    }

    /// The time at which the response is given up unless something arrives; nil if silence means nothing.
    var end: ContinuousClock.Instant? { isListing || hasBookmarks ? lastSign + longestSilence : nil }

    /// Records the arrival of bytes, even of a part of an event.
    mutating func beat(at now: ContinuousClock.Instant = .now) { lastSign = now }

    /// Records a bookmark; `endsList` is true if it ends the initial list.
    mutating func bookmark(endsList: Bool, at now: ContinuousClock.Instant = .now) {
        if endsList { isListing = false }
        hasBookmarks = true
        if let lastBookmark {
            intervals += 1
            longestInterval = max(longestInterval, now - lastBookmark)
        }
        lastBookmark = now
    }
}
