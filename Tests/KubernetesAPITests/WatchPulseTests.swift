// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import KubernetesAPI

@Suite struct WatchPulseTests {
    private let start = ContinuousClock.now

    private func pulse(isListing: Bool = false, hasBookmarks: Bool = true) -> WatchPulse {
        var pulse = WatchPulse(
            bookmarkInterval: .seconds(60), listSilence: .seconds(30), isListing: isListing, hasBookmarks: hasBookmarks)
        pulse.beat(at: start)
        return pulse
    }

    /// A watch with bookmarks at these seconds.
    private func pulse(bookmarksAt seconds: [Double]) -> WatchPulse {
        var pulse = pulse()
        for second in seconds {
            pulse.beat(at: start + .seconds(second))
            pulse.bookmark(endsList: false, at: start + .seconds(second))
        }
        return pulse
    }

    @Test("a watch is closed after 150 s, two missed bookmarks") func aWatchMayMissTwoBookmarks() {
        #expect(pulse().end == start + .seconds(150))
        // kube-apiserver spreads them by a quarter.
        #expect(pulse(bookmarksAt: [60, 135, 190, 265]).end == start + .seconds(265 + 150))
    }

    @Test("a watch that never had a bookmark has no deadline") func silenceMeansNothingWhereNoBookmarkEverCame() {
        var pulse = pulse(hasBookmarks: false)
        #expect(pulse.end == nil)
        pulse.bookmark(endsList: false, at: start)
        #expect(pulse.end == start + .seconds(150))
    }

    @Test("every byte extends the deadline of a watch") func everyByteIsASignOfLife() {
        var pulse = pulse()
        pulse.beat(at: start + .seconds(100))
        #expect(pulse.end == start + .seconds(250))
    }

    @Test("a streaming list has its own deadline until it ends")
    func aListHasABoundOfItsOwnAndTheWatchBehindItTheOther() {
        var pulse = pulse(isListing: true)
        #expect(pulse.end == start + .seconds(30))
        pulse.bookmark(endsList: false, at: start)
        #expect(pulse.end == start + .seconds(30))
        pulse.bookmark(endsList: true, at: start)
        #expect(pulse.end == start + .seconds(150))
    }

    @Test("a server with frequent bookmarks has a shorter deadline") func aServerWithMoreBookmarksIsGivenUpSooner() {
        #expect(pulse(bookmarksAt: [8, 16, 24, 32]).end == start + .seconds(32 + 20))
        #expect(pulse(bookmarksAt: [0.25, 0.5, 0.75, 1]).end == start + .seconds(1 + 10))
        // Two that come close together, as at the end of a watch, say nothing yet.
        #expect(pulse(bookmarksAt: [58, 59, 60]).end == start + .seconds(60 + 150))
        // The longest counts.
        #expect(pulse(bookmarksAt: [58, 59, 60, 61, 101]).end == start + .seconds(101 + 100))
    }

    @Test("a server with rare bookmarks has no longer deadline")
    func aServerWithFewerBookmarksIsNotWaitedForLonger() {
        #expect(pulse(bookmarksAt: [140, 280, 420, 560]).end == start + .seconds(560 + 150))
    }
}
