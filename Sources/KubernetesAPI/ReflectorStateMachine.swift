// SPDX-License-Identifier: Apache-2.0

import Retry

/// How often what is tried before something else is.
private enum Patience {
    static let streamingLists = 3
    static let uselessWatches = 3
    /// As often as that where lists did not help.
    static let mostUselessWatches = 24
    static let expiredPages = 2
    static let slowLists = 2
    static let forbiddenRequests = 5
}

/// Decides what a reflector does next: lists, watches and waits, as client-go's reflector does, so that the store always
/// holds a whole set of objects that is never older than one it had. It does nothing itself and knows no clock.
///
/// For every event there is either a request under way or something to do.
struct ReflectorStateMachine<Generator: RandomNumberGenerator> {
    typealias Step = ReflectorStep
    typealias Failure = ReflectorStep.Failure
    private typealias ListRequest = ReflectorStep.ListRequest
    private typealias WatchRequest = ReflectorStep.WatchRequest

    private enum Intent: Hashable {
        case list(ListRequest)
        case streamingList
        case watch
        case version
    }

    private enum State: Hashable {
        case running(Intent)
        case waiting(Intent)
    }

    private let pageSize: Int
    private let watchSeconds: ClosedRange<Int>
    private let forbiddenDelay: Duration
    private var generator: Generator
    private var backoff: Backoff
    private var state: State
    private var streamsLists: Bool
    private var hasReloadedCredentials = false
    private var failedStreamingLists = 0
    private var uselessWatches = 0
    /// Lists in turn that useless watches led to.
    private var listsInVain = 0
    /// Whether the server was asked for the newest version before this watch, and told it.
    private var followsVersion = false
    private var expiredPages = 0
    private var slowLists = 0
    private var forbiddenRequests = 0
    /// Whether a watch has expired since one has told of anything.
    private var hasExpired = false
    /// Whether the watch has told anything since the store holds a whole set, be it what is known.
    private var hasToldAnything = false
    /// Whether the watch has told anything new.
    private var hasProgressed = false
    /// How long the watch was to last.
    private var durationOfWatch = Duration.zero

    /// Whether a set is being gathered.
    private(set) var isReplacing = false
    /// Whether the store holds a whole set.
    private(set) var isSynced = false
    /// The version that the store stands at; empty before the first list.
    private(set) var resourceVersion = ""
    /// Sets that were put in the place of an earlier one.
    private(set) var relists = 0

    /// Makes a machine that has done nothing yet.
    ///
    /// - Parameters:
    ///   - streamsLists: Whether streaming lists are tried first.
    ///   - pageSize: The most objects of a page.
    ///   - watchSeconds: How long a watch lasts, drawn anew for each, so that not all of them end together.
    ///   - backoff: The waits between failures.
    ///   - forbiddenDelay: The wait after a 403 that stays, which only an operator can change. An API server may not have
    ///     loaded its roles yet when it starts: the waits after the first few are shorter.
    ///   - generator: Where jitter comes from.
    init(
        streamsLists: Bool = true, pageSize: Int = 500, watchSeconds: ClosedRange<Int> = 300...600,
        backoff: Backoff = Backoff(initial: .milliseconds(800), maximum: .seconds(30)),
        forbiddenDelay: Duration = .seconds(30), generator: Generator
    ) {
        self.streamsLists = streamsLists
        self.pageSize = pageSize
        self.watchSeconds = watchSeconds
        self.backoff = backoff
        self.forbiddenDelay = forbiddenDelay
        self.generator = generator
        state = .waiting(streamsLists ? .streamingList : .list(ListRequest()))
    }

    // MARK: - Events

    /// It begins, or the time to wait is over.
    mutating func timerFired() -> Step {
        guard case .waiting(let intent) = state else { return Step() }
        return begin(intent)
    }

    /// A page has been read to its end.
    mutating func pageReceived(_ metadata: ListMetadata) -> Step {
        guard case .running(.list(let request)) = state else { return Step() }
        answered()
        if let token = metadata.continueToken, !token.isEmpty {
            // The token holds the version; a server refuses both together.
            return begin(.list(ListRequest(resourceVersion: "", limit: request.limit, continueToken: token)))
        }
        var step = Step(replacements: commit(metadata.resourceVersion))
        step.add(begin(.watch))
        return step
    }

    /// A list, or a page of one, has failed.
    mutating func listFailed(_ failure: Failure) -> Step {
        guard case .running(.list(var request)) = state else { return Step() }
        let isPage = request.continueToken != nil
        request.continueToken = nil
        if failure.kind == .expired {
            expiredPages += isPage ? 1 : 0
            request.resourceVersion = ""
            // A cluster that changes faster than pages can be read is read at once.
            request.limit = expiredPages < Patience.expiredPages ? pageSize : nil
            return isPage ? restart(.list(request)) : retry(.list(request), after: failure)
        }
        if failure.isFromTheFuture { request.resourceVersion = "" }
        if failure.kind == .timeout, request.limit == nil {
            slowLists += 1
            // A server that takes too long to put all objects together may be quick enough with some of them.
            if slowLists >= Patience.slowLists { request = ListRequest(resourceVersion: "", limit: pageSize) }
        }
        return retry(.list(request), after: failure)
    }

    /// A watch tells of an object.
    mutating func objectChanged(resourceVersion: String) -> Step {
        // Before the end of the initial events the objects come in any order, and nothing is won yet.
        guard state == .running(.watch) else { return Step() }
        progressed()
        if !resourceVersion.isEmpty { self.resourceVersion = resourceVersion }
        return Step()
    }

    /// A watch tells how far it has come.
    mutating func bookmarkReceived(resourceVersion: String, endsInitialEvents: Bool) -> Step {
        switch state {
        case .running(.watch):
            hasToldAnything = true
            guard !resourceVersion.isEmpty, resourceVersion != self.resourceVersion else { return Step() }
            progressed()
            self.resourceVersion = resourceVersion
            return Step()
        case .running(.streamingList) where endsInitialEvents && !resourceVersion.isEmpty:
            // As after any other list, only what the watch tells from here on is progress of the watch.
            answered()
            failedStreamingLists = 0
            state = .running(.watch)
            return Step(replacements: commit(resourceVersion))
        case .running(.streamingList):
            // A server that does not know of initial events sends other bookmarks.
            streamsLists = false
            return restart(.list(firstList))
        default: return Step()
        }
    }

    /// A watch has ended by itself, or, with `wasCut`, because its connection did.
    mutating func watchEnded(after duration: Duration, wasCut: Bool = false) -> Step {
        switch state {
        case .running(.streamingList): return streamingListFailed(Failure(kind: .connection))
        case .running(.watch): break
        default: return Step()
        }
        let isComplete = !wasCut && duration >= durationOfWatch - .seconds(1)
        if isComplete || duration >= Self.workingDuration { backoff.reset() }
        // Bookmarks come about once a minute. Where none did, the server may not have reached our version, as after etcd was
        // restored from a backup, and would be silent for ever.
        if isComplete { return hasToldAnything ? begin(.watch) : relist() }
        let next = hasProgressed ? .version : resumption(.version)
        guard duration < .seconds(1) || next != .version else { return begin(.version) }
        return wait(for: next, delay: backoff.next(using: &generator))
    }

    /// A watch was refused, could not be read on, went silent or told of an error.
    mutating func watchFailed(_ failure: Failure) -> Step {
        switch state {
        case .running(.streamingList): return streamingListFailed(failure)
        case .running(.watch): break
        default: return Step()
        }
        switch failure.kind {
        case .expired: return expired()
        // A refusal may be one of the version.
        case .refused: return retry(relistIntent(), after: failure)
        default: break
        }
        let intent = Self.mayBeAnotherServer(failure) ? Intent.version : .watch
        let isUseless =
            failure.endedWatch || failure.isFromTheFuture || failure.kind == .malformed || failure.status == 500
            // The server is there, and tells versions.
            || followsVersion && failure.kind != .unauthorized && failure.kind != .credentials
        return retry(isUseless ? resumption(intent) : intent, after: failure)
    }

    /// How a watch of no use is gone on from: some times as `intent` says, then with a list. What the server fails at or what
    /// cannot be read may stand there for ever, and what is still to come may never come: a list is the way around all of them.
    /// Where the watch after it is of no use either, the next list comes later and later.
    private mutating func resumption(_ intent: Intent) -> Intent {
        uselessWatches += 1
        let patience = min(Patience.uselessWatches << min(listsInVain, 8), Patience.mostUselessWatches)
        guard uselessWatches >= patience else { return intent }
        listsInVain += 1
        return relistIntent()
    }

    /// The newest version is known. The number of an earlier one is smaller ("Resource versions", Kubernetes API
    /// concepts): where ours is larger, versions have started over, as after etcd was restored from a backup.
    mutating func versionReceived(_ version: String) -> Step {
        guard state == .running(.version) else { return Step() }
        answered()
        if let newest = UInt64(version), let ours = UInt64(resourceVersion), newest < ours { return relist() }
        let step = begin(.watch)
        followsVersion = true
        return step
    }

    /// The newest version could not be found out.
    mutating func versionFailed(_ failure: Failure) -> Step {
        guard state == .running(.version) else { return Step() }
        return switch failure.kind {
        // The watch is another question, and has its own answer.
        case .forbidden, .refused, .malformed, .expired: begin(.watch)
        default: retry(.version, after: failure)
        }
    }

    /// Whether a failure leaves open whether the next answer comes of the same state of the cluster.
    private static func mayBeAnotherServer(_ failure: Failure) -> Bool {
        switch failure.kind {
        case .connection, .timeout, .tls, .server, .throttled, .forbidden: true
        default: false
        }
    }

    /// After how long a watch has shown that the server is well.
    private static var workingDuration: Duration { .seconds(30) }

    // MARK: - Transitions

    private mutating func begin(_ intent: Intent) -> Step {
        var step = Step()
        state = .running(intent)
        switch intent {
        case .list(let request):
            if !isReplacing { step.replacements.append(.begin) }
            isReplacing = true
            step.action = .list(request)
        case .streamingList:
            step.replacements.append(.begin)
            isReplacing = true
            step.action = .watch(watch(resourceVersion: "", sendsInitialEvents: true))
        case .watch:
            step.action = .watch(watch(resourceVersion: resourceVersion, sendsInitialEvents: false))
        case .version:
            step.action = .version
        }
        return step
    }

    private mutating func watch(resourceVersion: String, sendsInitialEvents: Bool) -> WatchRequest {
        hasToldAnything = false
        hasProgressed = false
        followsVersion = false
        let seconds = Int.random(in: watchSeconds, using: &generator)
        durationOfWatch = .seconds(seconds)
        return WatchRequest(
            resourceVersion: resourceVersion, sendsInitialEvents: sendsInitialEvents, timeoutSeconds: seconds)
    }

    private mutating func commit(_ version: String) -> [ReflectorStep.Replacement] {
        isReplacing = false
        expiredPages = 0
        slowLists = 0
        uselessWatches = 0
        relists += isSynced ? 1 : 0
        isSynced = true
        resourceVersion = version
        return [.commit]
    }

    private mutating func abandon() -> [ReflectorStep.Replacement] {
        guard isReplacing else { return [] }
        isReplacing = false
        return [.abandon]
    }

    /// The server has let a request pass.
    private mutating func answered() { hasReloadedCredentials = false }

    /// The watch is of use.
    private mutating func progressed() {
        hasToldAnything = true
        hasProgressed = true
        answered()
        backoff.reset()
        hasExpired = false
        uselessWatches = 0
        listsInVain = 0
        forbiddenRequests = 0
    }

    /// How all objects are asked for after the first time: not older than what is there already.
    private func relistIntent() -> Intent {
        streamsLists ? .streamingList : .list(ListRequest(resourceVersion: "", limit: pageSize))
    }

    private mutating func relist() -> Step { restart(relistIntent()) }

    /// Asks for all objects at once, and with back-off where the watch after the last time expired as well.
    private mutating func expired() -> Step {
        guard hasExpired else {
            hasExpired = true
            return relist()
        }
        return wait(for: relistIntent(), delay: backoff.next(using: &generator))
    }

    private mutating func streamingListFailed(_ failure: Failure) -> Step {
        failedStreamingLists += 1
        switch failure.status {
        // With the feature gate WatchList off the server answers 422 Invalid, and before 1.27 as well; what stands
        // before a server may answer otherwise.
        case 400, 404, 405, 406, 415, 422, 501:
            streamsLists = false
            return restart(.list(firstList))
        default: break
        }
        // A list may get through where a stream does not.
        guard failedStreamingLists < Patience.streamingLists else {
            failedStreamingLists = 0
            return retry(.list(firstList), after: failure)
        }
        return retry(.streamingList, after: failure)
    }

    /// The list that stands in for a streaming one.
    private var firstList: ListRequest {
        isSynced ? ListRequest(resourceVersion: "", limit: pageSize) : ListRequest()
    }

    /// Begins something else at once.
    private mutating func restart(_ intent: Intent) -> Step {
        var step = Step(replacements: abandon())
        step.add(begin(intent))
        return step
    }

    private mutating func retry(_ intent: Intent, after failure: Failure) -> Step {
        if failure.kind == .unauthorized, !hasReloadedCredentials {
            hasReloadedCredentials = true
            var step = restart(intent)
            step.reloadsCredentials = true
            return step
        }
        var delay = backoff.next(using: &generator)
        if failure.kind == .forbidden {
            forbiddenRequests += 1
            if isForbidden { delay = max(delay, forbiddenDelay * Double.random(in: 0.5...1, using: &generator)) }
        }
        // No server has a reason to ask for more than some minutes.
        if let retryAfter = failure.retryAfter { delay = max(delay, min(retryAfter, .seconds(300))) }
        var step = wait(for: intent, delay: delay)
        step.reloadsCredentials = failure.kind == .unauthorized
        step.needsHelp =
            switch failure.kind {
            case .credentials, .unauthorized, .tls: true
            case .forbidden: isForbidden
            default: false
            }
        return step
    }

    private var isForbidden: Bool { forbiddenRequests > Patience.forbiddenRequests }

    private mutating func wait(for intent: Intent, delay: Duration) -> Step {
        state = .waiting(intent)
        return Step(replacements: abandon(), action: .wait(delay))
    }
}
