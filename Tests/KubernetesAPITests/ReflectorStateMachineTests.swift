// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import KubernetesAPI

private typealias Machine = ReflectorStateMachine<SeededGenerator>

private func machine(streamsLists: Bool = false, seed: UInt64 = 1) -> Machine {
    Machine(streamsLists: streamsLists, generator: SeededGenerator(seed: seed))
}

/// Returns a machine that has listed up to version 10 and is watching.
private func watching(streamsLists: Bool = false) -> Machine {
    var machine = machine(streamsLists: streamsLists)
    _ = machine.timerFired()
    if streamsLists {
        _ = machine.bookmarkReceived(resourceVersion: "10", endsInitialEvents: true)
    } else {
        _ = machine.pageReceived(ListMetadata(resourceVersion: "10"))
    }
    return machine
}

extension ReflectorStep.Failure {
    fileprivate static func status(_ status: Int, retryAfter: Duration? = nil) -> Self {
        Self(kind: ReflectorFailure(status: status), status: status, retryAfter: retryAfter)
    }
}

extension ReflectorStep {
    fileprivate var list: ReflectorStep.ListRequest? { if case .list(let request) = action { request } else { nil } }
    fileprivate var watch: ReflectorStep.WatchRequest? { if case .watch(let request) = action { request } else { nil } }
    fileprivate var wait: Duration? { if case .wait(let duration) = action { duration } else { nil } }
}

private let newest = ReflectorStep.ListRequest(resourceVersion: "", limit: 500)

@Suite struct ReflectorStateMachineTests {
    // MARK: - Streaming lists

    @Test("the first request is a streaming list") func aStreamingListComesFirst() {
        var machine = machine(streamsLists: true)
        let step = machine.timerFired()
        #expect(step.replacements == [.begin])
        #expect(step.watch?.sendsInitialEvents == true)
        #expect(step.watch?.resourceVersion == "")
        #expect(!machine.isSynced)
    }

    @Test("the bookmark at the end of a streaming list commits it, and the watch continues")
    func theEndBookmarkCommitsAndTheWatchGoesOn() {
        var machine = machine(streamsLists: true)
        _ = machine.timerFired()
        // Initial events come in any order, so none of their versions is one to resume from.
        for version in ["7", "3"] { #expect(machine.objectChanged(resourceVersion: version) == .init()) }
        #expect(machine.resourceVersion == "")
        let step = machine.bookmarkReceived(resourceVersion: "9", endsInitialEvents: true)
        #expect(step == .init(replacements: [.commit]))
        #expect(machine.isSynced)
        _ = machine.objectChanged(resourceVersion: "11")
        let next = machine.watchEnded(after: .seconds(600))
        #expect(next.watch?.resourceVersion == "11")
        #expect(next.watch?.sendsInitialEvents == false)
        #expect(next.replacements.isEmpty)
    }

    @Test(
        "a server that rejects streaming lists gets ordinary lists from then on", arguments: [400, 404, 405, 422, 501])
    func aServerThatKnowsNoStreamingListIsListedForGood(status: Int) {
        var machine = machine(streamsLists: true)
        _ = machine.timerFired()
        let step = machine.watchFailed(.status(status))
        #expect(step.replacements == [.abandon, .begin])
        #expect(step.list == .init(resourceVersion: "0"))
        #expect(machine.pageReceived(ListMetadata(resourceVersion: "5")).watch?.sendsInitialEvents == false)
        #expect(machine.watchFailed(.status(410)).list == newest)
    }

    @Test("a bookmark that does not end the list shows that streaming lists are not supported")
    func aServerThatSendsAnotherBookmarkKnowsNoStreamingList() {
        var machine = machine(streamsLists: true)
        _ = machine.timerFired()
        let step = machine.bookmarkReceived(resourceVersion: "9", endsInitialEvents: false)
        #expect(step.replacements == [.abandon, .begin])
        #expect(step.list == .init(resourceVersion: "0"))
    }

    @Test("a streaming list that breaks is retried and then replaced by an ordinary list")
    func aStreamingListThatBreaksIsTriedAgainAndThenListed() {
        var machine = machine(streamsLists: true)
        _ = machine.timerFired()
        _ = machine.objectChanged(resourceVersion: "3")
        for _ in 0..<2 {
            let step = machine.watchEnded(after: .seconds(10))
            #expect(step.replacements == [.abandon])
            #expect(step.wait != nil)
            #expect(machine.timerFired().watch?.sendsInitialEvents == true)
        }
        #expect(machine.watchFailed(.status(500)).wait != nil)
        #expect(machine.timerFired().list == .init(resourceVersion: "0"))
        _ = machine.pageReceived(ListMetadata(resourceVersion: "5"))
        // The server did not reject the streaming list as such, so the next attempt uses one again.
        #expect(machine.watchFailed(.status(410)).watch?.sendsInitialEvents == true)
    }

    // MARK: - Lists

    @Test("the first list requests any version that the server has cached")
    func theFirstListTakesWhatTheServerHasInMemory() {
        var machine = machine()
        let step = machine.timerFired()
        #expect(step.replacements == [.begin])
        #expect(step.list == .init(resourceVersion: "0"))
        let next = machine.pageReceived(ListMetadata(resourceVersion: "10"))
        #expect(next.replacements == [.commit])
        #expect(next.watch?.resourceVersion == "10")
        #expect(machine.isSynced)
        #expect(machine.relists == 0)
    }

    @Test("pages are requested until the last") func pagesAreReadToTheLast() {
        var machine = watching()
        #expect(machine.watchFailed(.status(410)).list == newest)
        let second = machine.pageReceived(ListMetadata(resourceVersion: "20", continueToken: "abc"))
        #expect(second == .init(action: .list(.init(resourceVersion: "", limit: 500, continueToken: "abc"))))
        let last = machine.pageReceived(ListMetadata(resourceVersion: "20"))
        #expect(last.replacements == [.commit])
        #expect(last.watch?.resourceVersion == "20")
        #expect(machine.relists == 1)
    }

    @Test("an expired page restarts the list, and the second one disables paging")
    func anExpiredPageBeginsAnewAndThenIsReadAtOnce() {
        var machine = watching()
        _ = machine.watchFailed(.status(410))
        _ = machine.pageReceived(ListMetadata(resourceVersion: "20", continueToken: "abc"))
        let first = machine.listFailed(.status(410))
        #expect(first.replacements == [.abandon, .begin])
        #expect(first.list == newest)
        _ = machine.pageReceived(ListMetadata(resourceVersion: "21", continueToken: "def"))
        #expect(machine.listFailed(.status(410)).list == .init(resourceVersion: "", limit: nil))
        #expect(machine.pageReceived(ListMetadata(resourceVersion: "22")).replacements == [.commit])
    }

    @Test("a version that the server does not have yet is not requested again")
    func aVersionFromTheFutureIsAskedForNoMore() {
        var machine = machine()
        _ = machine.timerFired()
        #expect(machine.listFailed(.init(kind: .server, status: 504, isFromTheFuture: true)).wait != nil)
        #expect(machine.timerFired().list?.resourceVersion == "")
    }

    @Test("a list that times out twice is requested in pages") func aListThatIsSlowToBeginIsReadInPages() {
        var machine = machine()
        _ = machine.timerFired()
        #expect(machine.listFailed(.init(kind: .timeout)).wait != nil)
        #expect(machine.timerFired().list == .init(resourceVersion: "0"))
        #expect(machine.listFailed(.init(kind: .timeout)).wait != nil)
        #expect(machine.timerFired().list == newest)
        _ = machine.pageReceived(ListMetadata(resourceVersion: "20", continueToken: "abc"))
        // Pages are used until the set is complete.
        #expect(machine.listFailed(.init(kind: .timeout)).wait != nil)
        #expect(machine.timerFired().list == newest)
        _ = machine.pageReceived(ListMetadata(resourceVersion: "21"))
        #expect(machine.isSynced)
    }

    @Test("a list that fails for another reason is not requested in pages")
    func aListThatFailsOtherwiseIsReadAtOnce() {
        var machine = machine()
        _ = machine.timerFired()
        for kind in [ReflectorFailure.connection, .timeout, .server, .connection] {
            _ = machine.listFailed(.init(kind: kind))
            #expect(machine.timerFired().list == .init(resourceVersion: "0"))
        }
    }

    @Test("a list that fails is not committed and is retried") func aListThatFailsIsNotCommittedAndTriedAgain() {
        var machine = watching()
        _ = machine.watchFailed(.status(410))
        _ = machine.pageReceived(ListMetadata(resourceVersion: "20", continueToken: "abc"))
        let step = machine.listFailed(.init(kind: .connection))
        #expect(step.replacements == [.abandon])
        #expect(step.wait != nil)
        #expect(machine.isSynced)
        #expect(machine.resourceVersion == "10")
        let again = machine.timerFired()
        #expect(again.replacements == [.begin])
        #expect(again.list == newest)
    }

    // MARK: - Watches

    @Test("the next watch continues from the last version without a list")
    func aWatchGoesOnFromItsLastVersionWithoutAList() {
        var machine = watching()
        _ = machine.objectChanged(resourceVersion: "12")
        _ = machine.bookmarkReceived(resourceVersion: "15", endsInitialEvents: false)
        let step = machine.watchEnded(after: .seconds(600))
        #expect(step.replacements.isEmpty)
        #expect(step.watch?.resourceVersion == "15")
    }

    @Test("watches last five to ten minutes") func watchesLastFiveToTenMinutes() {
        var machine = watching()
        var seconds: Set<Int> = []
        for _ in 0..<200 {
            _ = machine.objectChanged(resourceVersion: "12")
            seconds.insert(machine.watchEnded(after: .seconds(600)).watch?.timeoutSeconds ?? 0)
        }
        #expect(seconds.allSatisfy { 300...600 ~= $0 })
        #expect(seconds.count > 50)
    }

    @Test("a watch that ends at once without progress backs off") func aWatchThatEndsAtOnceWithNothingBacksOff() {
        var machine = watching()
        var bound = 0.8
        for attempt in 1...8 {
            let wait = machine.watchEnded(after: .milliseconds(200)).wait
            #expect(wait.map { $0 >= .seconds(bound / 10) && $0 <= .seconds(bound) } == true)
            bound = min(30, bound * 2)
            // After the third watch without progress, everything is listed again.
            if attempt == 3 {
                #expect(machine.timerFired().list == newest)
                _ = machine.pageReceived(ListMetadata(resourceVersion: "10"))
            } else {
                #expect(machine.timerFired().action == .version)
                #expect(machine.versionReceived("10").watch?.resourceVersion == "10")
            }
        }
        _ = machine.objectChanged(resourceVersion: "11")
        #expect(machine.watchEnded(after: .seconds(2)).action == .version)
        #expect(machine.versionReceived("12").watch?.resourceVersion == "11")
        #expect(machine.watchEnded(after: .seconds(2)).action == .version)
    }

    @Test("the version is checked after a watch that ends early")
    func aWatchThatEndsBeforeItsTimeMayBeFollowedByAnotherServer() {
        for wasCut in [false, true] {
            var machine = watching()
            _ = machine.objectChanged(resourceVersion: "12")
            #expect(machine.watchEnded(after: .seconds(100), wasCut: wasCut).action == .version)
            #expect(machine.versionReceived("12").watch?.resourceVersion == "12")
        }
        var machine = watching()
        _ = machine.objectChanged(resourceVersion: "12")
        #expect(machine.watchEnded(after: .seconds(600), wasCut: true).action == .version)
    }

    @Test("a server whose versions start over is listed again", arguments: [true, false])
    func versionsThatStartOverAreListedAnew(streamsLists: Bool) {
        for newest in ["9", "1", "0"] {
            var machine = watching(streamsLists: streamsLists)
            _ = machine.watchFailed(.init(kind: .connection))
            #expect(machine.timerFired().action == .version)
            let step = machine.versionReceived(newest)
            #expect(step.replacements == [.begin])
            #expect(streamsLists ? step.watch?.sendsInitialEvents == true : step.list?.resourceVersion == "")
        }
        // Later versions are larger, whatever their number of digits; a version that is not a number cannot be
        // compared.
        for newest in ["10", "11", "100", "abc", "", "99999999999999999999"] {
            var machine = watching(streamsLists: streamsLists)
            _ = machine.watchFailed(.init(kind: .connection))
            _ = machine.timerFired()
            #expect(machine.versionReceived(newest).watch?.resourceVersion == "10", "\(newest)")
        }
    }

    @Test("the newest version is requested until it is known") func theNewestVersionIsAskedForUntilItIsKnown() {
        var machine = watching()
        _ = machine.watchFailed(.init(kind: .timeout, endedWatch: true))
        for failure in [.init(kind: .connection), .init(kind: .tls), .status(503), .status(429)]
            as [ReflectorStep.Failure]
        {
            #expect(machine.timerFired().action == .version)
            #expect(machine.versionFailed(failure).wait != nil)
        }
        #expect(machine.timerFired().action == .version)
        #expect(machine.versionFailed(.status(401)).action == .version)
        // A rejected version request does not mean that the watch is rejected too.
        #expect(machine.versionFailed(.status(403)).watch?.resourceVersion == "10")
    }

    @Test("the backoff is reset after a watch with progress") func backOffIsForgottenAfterAWatchThatWorked() {
        func boundAfter(_ end: (inout Machine) -> ReflectorStep) -> Bool {
            (1...20 as ClosedRange<UInt64>).allSatisfy { seed in
                var machine = machine(seed: seed)
                _ = machine.timerFired()
                for _ in 0..<10 {
                    _ = machine.listFailed(.init(kind: .connection))
                    _ = machine.timerFired()
                }
                _ = machine.pageReceived(ListMetadata(resourceVersion: "10"))
                _ = end(&machine)
                _ = machine.versionReceived("10")
                return machine.watchFailed(.status(503)).wait.map { $0 <= .seconds(0.8) } == true
            }
        }
        #expect(boundAfter { $0.watchEnded(after: .seconds(40), wasCut: true) })
        #expect(!boundAfter { $0.watchEnded(after: .seconds(5), wasCut: true) })
    }

    @Test("everything is listed again after a watch without events or bookmarks")
    func aWatchThatIsSilentToItsEndMayWaitForTheFuture() {
        var machine = watching()
        #expect(machine.watchEnded(after: .seconds(600)).list == newest)
    }

    @Test("an expired watch is listed again at once, and then with backoff")
    func anExpiredWatchListsAnewAtOnceAndTheNextTimeWithBackOff() {
        var machine = watching()
        #expect(machine.watchFailed(.status(410)).list == newest)
        _ = machine.pageReceived(ListMetadata(resourceVersion: "20"))
        #expect(machine.watchFailed(.status(410)).wait != nil)
        #expect(machine.timerFired().list == newest)
        _ = machine.pageReceived(ListMetadata(resourceVersion: "30"))
        _ = machine.objectChanged(resourceVersion: "31")
        #expect(machine.watchFailed(.status(410)).list == newest)
    }

    @Test("a streaming list that expires at once backs off") func aStreamingListThatExpiresAtOnceBacksOff() {
        for endsAfter in [nil, Duration.seconds(20)] {
            var machine = machine(streamsLists: true)
            _ = machine.timerFired()
            var waits: [Duration] = []
            for version in 1...10 {
                _ = machine.objectChanged(resourceVersion: "\(version)")
                _ = machine.bookmarkReceived(resourceVersion: "\(version)", endsInitialEvents: true)
                // A slow list, whose watch ends as soon as the list does.
                if let endsAfter {
                    #expect(machine.watchEnded(after: endsAfter).action == .version)
                    #expect(machine.versionReceived("\(version)").watch != nil)
                }
                let step = machine.watchFailed(.status(410))
                guard let wait = step.wait else {
                    #expect(step.watch?.sendsInitialEvents == true)
                    continue
                }
                waits.append(wait)
                #expect(machine.timerFired().watch?.sendsInitialEvents == true)
            }
            // Only the first retry is immediate, and the upper bound grows.
            #expect(waits.count == 9)
            #expect(waits.max().map { $0 > .seconds(3) } == true)
        }
    }

    @Test("initial events of a streaming list are not progress") func initialEventsAreNoProgress() {
        // The waits after the third consecutive stream that breaks after an object.
        let waits = (1...20 as ClosedRange<UInt64>).map { seed in
            var machine = machine(streamsLists: true, seed: seed)
            var wait = Duration.zero
            for _ in 0..<3 {
                _ = machine.timerFired()
                _ = machine.objectChanged(resourceVersion: "1")
                wait = machine.watchEnded(after: .seconds(5)).wait ?? .zero
            }
            return wait
        }
        // The upper bound has doubled twice from 0.8 seconds.
        #expect(waits.max().map { $0 > .seconds(1.6) && $0 <= .seconds(3.2) } == true)
    }

    @Test("events after the list are progress") func whatComesAfterTheListIsProgress() {
        var machine = machine(streamsLists: true)
        _ = machine.timerFired()
        for version in [10, 20, 30] {
            _ = machine.bookmarkReceived(resourceVersion: "\(version)", endsInitialEvents: true)
            _ = machine.objectChanged(resourceVersion: "\(version + 1)")
            #expect(machine.watchFailed(.status(410)).watch?.sendsInitialEvents == true)
        }
    }

    @Test("a malformed watch is retried and then followed by a list")
    func aMalformedWatchIsTriedAgainAndThenListed() {
        var machine = watching()
        for _ in 0..<2 {
            #expect(machine.watchFailed(.init(kind: .malformed)).wait != nil)
            #expect(machine.timerFired().watch?.resourceVersion == "10")
        }
        #expect(machine.watchFailed(.init(kind: .malformed)).wait != nil)
        #expect(machine.timerFired().list == newest)
    }

    @Test("everything is listed again if the server keeps lacking the watch's version")
    func aWatchThatStaysInTheFutureIsListedAnew() {
        var machine = watching()
        for _ in 0..<2 {
            _ = machine.watchFailed(.init(kind: .server, status: 504, isFromTheFuture: true))
            #expect(machine.timerFired().action == .version)
            #expect(machine.versionReceived("10").watch?.resourceVersion == "10")
        }
        _ = machine.watchFailed(.init(kind: .server, status: 504, isFromTheFuture: true))
        #expect(machine.timerFired().list == newest)
    }

    /// The watches end with an ERROR event, with silence or with unreadable bytes.
    @Test(
        "three watches without progress are followed by a list",
        arguments: [
            ReflectorStep.Failure(kind: .server, status: 500, endedWatch: true), .init(kind: .server, status: 500),
            .init(kind: .throttled, status: 429, endedWatch: true), .init(kind: .server, status: 503, endedWatch: true),
            .init(kind: .unauthorized, status: 401, endedWatch: true), .init(kind: .timeout, endedWatch: true),
            .init(kind: .malformed), .init(kind: .malformed, endedWatch: true),
        ])
    func watchesOfNoUseAreFollowedByAList(_ failure: ReflectorStep.Failure) {
        for tellsBookmarks in [false, true] {
            var machine = watching()
            var watches = 0
            var step = ReflectorStep()
            repeat {
                watches += 1
                // A bookmark of the known version shows that the watch is alive, but is no progress.
                if tellsBookmarks { _ = machine.bookmarkReceived(resourceVersion: "10", endsInitialEvents: false) }
                step = machine.watchFailed(failure)
                if step.wait != nil { step = machine.timerFired() }
                if step.action == .version { step = machine.versionReceived("10") }
            } while step.watch != nil && watches < 20
            #expect(step.list == newest)
            #expect(watches == 3)
        }
    }

    /// The server, or a proxy in front of it, answers version requests and lists but rejects or never answers watches.
    @Test(
        "watches that never begin are followed by lists at growing intervals",
        arguments: [
            ReflectorStep.Failure.status(503), .status(429), .status(403), .status(502), .init(kind: .timeout),
            .init(kind: .connection),
        ])
    func watchesThatNeverBeginAreFollowedByListsThatBecomeRare(_ failure: ReflectorStep.Failure) {
        var machine = watching()
        var watchesBetweenLists = [0]
        for _ in 0..<200 {
            watchesBetweenLists[watchesBetweenLists.count - 1] += 1
            var step = machine.watchFailed(failure)
            #expect(step.wait != nil)
            step = machine.timerFired()
            if step.action == .version { step = machine.versionReceived("10") }
            if step.list != nil {
                watchesBetweenLists.append(0)
                step = machine.pageReceived(ListMetadata(resourceVersion: "10"))
            }
            #expect(step.watch?.resourceVersion == "10")
        }
        // The first watch did not follow a successful version request.
        #expect(watchesBetweenLists.prefix(6) == [4, 7, 13, 25, 25, 25])
        _ = machine.objectChanged(resourceVersion: "11")
        _ = machine.watchFailed(failure)
        #expect(machine.timerFired().action == .version)
    }

    @Test("a server that answers nothing is not listed again") func aServerThatAnswersNothingIsNotListed() {
        var machine = watching()
        for failure in [.status(503), .status(429), .init(kind: .connection)] as [ReflectorStep.Failure] {
            #expect(machine.watchFailed(failure).wait != nil)
            for _ in 0..<10 {
                #expect(machine.timerFired().action == .version)
                #expect(machine.versionFailed(failure).wait != nil)
            }
            _ = machine.timerFired()
            _ = machine.versionReceived("10")
            _ = machine.objectChanged(resourceVersion: "10")
        }
        #expect(machine.relists == 0)
    }

    @Test("a watch that ends at once backs off although it has events")
    func aWatchThatEndsAtOnceBacksOffThoughItTells() {
        var machine = watching()
        for _ in 0..<20 {
            _ = machine.objectChanged(resourceVersion: "11")
            #expect(machine.watchEnded(after: .milliseconds(200)).wait.map { $0 <= .seconds(0.8) } == true)
            #expect(machine.timerFired().action == .version)
            _ = machine.versionReceived("11")
        }
        #expect(machine.relists == 0)
    }

    @Test("a rejected watch is followed by a list") func aWatchThatIsRefusedIsListedAnew() {
        var machine = watching()
        #expect(machine.watchFailed(.status(400)).wait != nil)
        #expect(machine.timerFired().list == newest)
    }

    @Test("an unreachable server is watched again from the same version")
    func aServerThatCannotBeReachedIsTriedFromTheSameVersion() {
        var machine = watching()
        #expect(machine.watchFailed(.init(kind: .connection)).wait != nil)
        for _ in 0..<20 {
            #expect(machine.timerFired().action == .version)
            #expect(machine.versionFailed(.init(kind: .connection)).wait.map { $0 <= .seconds(30) } == true)
        }
        _ = machine.timerFired()
        #expect(machine.versionReceived("20").watch?.resourceVersion == "10")
        #expect(machine.isSynced)
    }

    // MARK: - Rejections

    @Test("the server's Retry-After is kept, up to five minutes") func theServersWaitIsHonoured() {
        var machine = watching()
        #expect(machine.watchFailed(.status(429, retryAfter: .seconds(120))).wait == .seconds(120))
        _ = machine.timerFired()
        _ = machine.versionReceived("10")
        #expect(machine.watchFailed(.status(503, retryAfter: .seconds(100_000))).wait == .seconds(300))
        _ = machine.timerFired()
        _ = machine.versionReceived("10")
        #expect(machine.watchFailed(.status(429)).wait.map { $0 <= .seconds(30) } == true)
    }

    @Test("a rejected token is read again and retried at once, then with backoff")
    func aRefusedTokenIsReadAgainAndTriedAgainOnce() {
        var machine = watching()
        let first = machine.watchFailed(.status(401))
        #expect(first.reloadsCredentials)
        #expect(first.watch?.resourceVersion == "10")
        let second = machine.watchFailed(.status(401))
        #expect(second.reloadsCredentials)
        #expect(second.wait != nil)
        _ = machine.timerFired()
        _ = machine.objectChanged(resourceVersion: "11")
        #expect(machine.watchFailed(.status(401)).watch?.resourceVersion == "11")
    }

    @Test("a token rejected during a list restarts the list") func aRefusedTokenOfAListBeginsTheListAnew() {
        var machine = machine()
        _ = machine.timerFired()
        let step = machine.listFailed(.status(401))
        #expect(step.replacements == [.abandon, .begin])
        #expect(step.list == .init(resourceVersion: "0"))
        #expect(step.reloadsCredentials)
    }

    @Test("a forbidden request is retried slowly and reported") func whatIsForbiddenIsTriedSlowly() {
        for streamsLists in [false, true] {
            var machine = machine(streamsLists: streamsLists)
            var next = machine.timerFired()
            for attempt in 1...12 {
                let step = next.list == nil ? machine.watchFailed(.status(403)) : machine.listFailed(.status(403))
                // A starting API server may not have loaded its roles yet.
                let isAtStart = attempt <= 5
                #expect(step.needsHelp == !isAtStart)
                #expect(step.wait.map { ($0 <= .seconds(13)) == isAtStart && $0 <= .seconds(30) } == true)
                next = machine.timerFired()
                #expect(next.list != nil || next.watch?.sendsInitialEvents == true)
            }
        }
    }

    // MARK: - Properties

    /// For any events in any order: a request is in flight or the step has an action; a set is begun before it is
    /// committed, and committed only when complete; a synced store stays synced.
    @Test("random events never stall the reflector and never commit a partial list")
    func nothingStallsAndNothingPartialIsCommitted() {
        for seed in 0..<300 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            var machine = machine(streamsLists: Bool.random(using: &generator), seed: seed)
            var model = Model()
            model.take(machine.timerFired(), machine)
            for _ in 0..<400 {
                let step: ReflectorStep
                let event = Event.random(for: model.underWay, using: &generator)
                switch event {
                case .timer: step = machine.timerFired()
                case .page(let token):
                    model.isWhole = token == nil
                    step = machine.pageReceived(
                        ListMetadata(resourceVersion: "\(model.version)", continueToken: token))
                case .listFailed(let failure): step = machine.listFailed(failure)
                case .changed: step = machine.objectChanged(resourceVersion: "\(model.version)")
                case .bookmark(let ends):
                    model.isWhole = ends
                    step = machine.bookmarkReceived(resourceVersion: "\(model.version)", endsInitialEvents: ends)
                case .ended(let duration, let wasCut): step = machine.watchEnded(after: duration, wasCut: wasCut)
                case .version(let version): step = machine.versionReceived(version)
                case .versionFailed(let failure): step = machine.versionFailed(failure)
                case .watchFailed(let failure): step = machine.watchFailed(failure)
                }
                model.version += 1
                model.take(step, machine)
                model.isWhole = false
                guard model.problem == nil else { break }
            }
            #expect(model.problem == nil, "seed \(seed)")
        }
    }
}

/// A model of the machine's permitted behaviour, as a reflector sees it.
private struct Model {
    enum UnderWay { case list, watch, version, wait }
    var underWay = UnderWay.wait
    var version = 100
    /// Whether the last event completed the set being gathered.
    var isWhole = false
    var problem: String?
    private var isReplacing = false
    private var wasSynced = false

    mutating func take(_ step: ReflectorStep, _ machine: Machine) {
        for replacement in step.replacements {
            switch replacement {
            case .begin:
                if isReplacing { problem = "began twice" }
                isReplacing = true
            case .commit:
                if !isReplacing || !isWhole { problem = "committed what is not whole" }
                isReplacing = false
            case .abandon:
                if !isReplacing { problem = "abandoned nothing" }
                isReplacing = false
            }
        }
        switch step.action {
        case .list(let request):
            underWay = .list
            if !isReplacing { problem = "listed for nothing" }
            if wasSynced, request.resourceVersion == "0" { problem = "went back in time" }
        case .watch(let request):
            underWay = .watch
            if request.sendsInitialEvents != isReplacing { problem = "watched for nothing" }
            if !request.sendsInitialEvents, request.resourceVersion != machine.resourceVersion {
                problem = "watched from elsewhere"
            }
        case .version:
            underWay = .version
            if isReplacing { problem = "asked while it listed" }
            if !wasSynced { problem = "asked without a version of its own" }
        case .wait(let duration):
            underWay = .wait
            if isReplacing { problem = "kept half a set" }
            if duration <= .zero || duration > .seconds(300) { problem = "waits for \(duration)" }
        case nil: if underWay == .wait { problem = "stalled" }
        }
        if wasSynced, !machine.isSynced { problem = "is no longer synced" }
        wasSynced = machine.isSynced
    }
}

private enum Event {
    case timer, page(String?), listFailed(ReflectorStep.Failure), changed, bookmark(Bool)
    case ended(Duration, wasCut: Bool), watchFailed(ReflectorStep.Failure)
    case version(String), versionFailed(ReflectorStep.Failure)

    static func random(for underWay: Model.UnderWay, using generator: inout SeededGenerator) -> Event {
        switch underWay {
        case .wait: return .timer
        case .version: return versionEvent(using: &generator)
        case .list:
            switch Int.random(in: 0..<3, using: &generator) {
            case 0: return .page(nil)
            case 1: return .page("token")
            default: return .listFailed(failure(using: &generator))
            }
        case .watch:
            switch Int.random(in: 0..<5, using: &generator) {
            case 0: return .changed
            case 1: return .bookmark(Bool.random(using: &generator))
            case 2:
                return .ended(
                    .milliseconds(Int.random(in: 0...600_000, using: &generator)),
                    wasCut: Bool.random(using: &generator))
            default: return .watchFailed(failure(using: &generator))
            }
        }
    }

    private static func versionEvent(using generator: inout SeededGenerator) -> Event {
        Bool.random(using: &generator)
            ? .version(["", "7", "110", "100000", "x"].randomElement(using: &generator) ?? "")
            : .versionFailed(failure(using: &generator))
    }

    private static func failure(using generator: inout SeededGenerator) -> ReflectorStep.Failure {
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
            return .init(
                kind: [.connection, .timeout, .tls, .malformed, .credentials].randomElement(using: &generator) ?? .tls,
                endedWatch: Bool.random(using: &generator))
        case 1: return .init(kind: .server, status: 504, isFromTheFuture: true)
        default:
            let status = [400, 401, 403, 404, 410, 422, 429, 500, 503].randomElement(using: &generator) ?? 500
            return .status(status, retryAfter: Bool.random(using: &generator) ? .seconds(3) : nil)
        }
    }
}
