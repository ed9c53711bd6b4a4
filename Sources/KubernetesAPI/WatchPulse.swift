// SPDX-License-Identifier: Apache-2.0

/// Tells when an answer that is streamed has gone silent: its server or the way to it is gone, and nothing says so.
///
/// A watch has something to tell at least as often as its bookmarks come, about once a minute
/// (`defaultBookmarkFrequency` of kube-apiserver's `storage/cacher/cacher.go`).
struct WatchPulse {
    /// How many bookmarks may stay out.
    private static let missingBookmarks = 2.5
    /// The shortest silence that means something where bookmarks come more often than usual.
    private static let shortestSilence = Duration.seconds(10)
    /// After how many intervals of a watch the server's own is believed.
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

    /// Begins to listen.
    ///
    /// - Parameters:
    ///   - bookmarkInterval: How often a watch gets a bookmark until more is known of the server.
    ///   - listSilence: How long nothing may come while objects are listed.
    ///   - isListing: Whether a list comes first, or nothing else.
    ///   - hasBookmarks: Whether the server is known to send bookmarks. Older ones send none of a resource that has not
    ///     changed since they began.
    init(bookmarkInterval: Duration, listSilence: Duration, isListing: Bool, hasBookmarks: Bool = false) {
        self.bookmarkInterval = bookmarkInterval
        self.listSilence = listSilence
        self.isListing = isListing
        self.hasBookmarks = hasBookmarks
    }

    /// How long nothing may come.
    var longestSilence: Duration {
        if isListing { return listSilence }
        guard intervals >= Self.convincingIntervals, longestInterval < bookmarkInterval else {
            return bookmarkInterval * Self.missingBookmarks
        }
        return max(longestInterval * Self.missingBookmarks, min(Self.shortestSilence, bookmarkInterval))
    }

    /// When the answer is given up unless something comes; nil where silence means nothing.
    var end: ContinuousClock.Instant? { isListing || hasBookmarks ? lastSign + longestSilence : nil }

    /// Something has come, be it a part of an event.
    mutating func beat(at now: ContinuousClock.Instant = .now) { lastSign = now }

    /// A bookmark has come; `endsList` where it ends the list that came first.
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
