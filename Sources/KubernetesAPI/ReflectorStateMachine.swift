// SPDX-License-Identifier: Apache-2.0

import Retry

/// Retry limits before the reflector falls back to another strategy.
private enum Patience {
    static let streamingLists = 3
    static let uselessWatches = 3
    /// The upper bound of `uselessWatches`, which doubles with each list that did not help.
    static let mostUselessWatches = 24
    static let expiredPages = 2
    static let slowLists = 2
    static let forbiddenRequests = 5
}

/// Decides a reflector's next action: lists, watches and waits, as client-go's reflector does, so that the store always
/// holds a complete set of objects that is never older than an earlier one. It has no I/O and no clock.
///
/// After every event, either a request is in flight or the step has an action.
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
    /// Consecutive lists that watches without progress led to.
    private var listsInVain = 0
    /// Whether this watch follows a successful request for the newest version.
    private var followsVersion = false
    private var expiredPages = 0
    private var slowLists = 0
    private var forbiddenRequests = 0
    /// Whether a watch has expired since a watch last made progress.
    private var hasExpired = false
    /// Whether the watch has sent anything since the store holds a complete set, even if it was known already.
    private var hasToldAnything = false
    /// Whether the watch has sent anything new.
    private var hasProgressed = false
    /// The requested duration of the watch.
    private var durationOfWatch = Duration.zero

    /// Whether a new set is being gathered.
    private(set) var isReplacing = false
    /// Whether the store holds a complete set.
    private(set) var isSynced = false
    /// The version of the store's objects; empty before the first list.
    private(set) var resourceVersion = ""
    /// Sets that replaced an earlier one.
    private(set) var relists = 0

    /// Makes a machine in its initial state.
    ///
    /// - Parameters:
    ///   - streamsLists: Whether streaming lists are tried first.
    ///   - pageSize: The maximum number of objects in a page.
    ///   - watchSeconds: The duration of a watch, drawn at random for each, so that they do not all end together.
    ///   - backoff: The waits between failures.
    ///   - forbiddenDelay: The wait after a persistent 403, which only an operator can change. A starting API server
    ///     may not have loaded its roles yet, so the first few waits are shorter.
    ///   - generator: The source of jitter.
    init(
        streamsLists: Bool = true, pageSize: Int = 500, watchSeconds: ClosedRange<Int> = 300...600,
        backoff: Backoff = .watch, forbiddenDelay: Duration = .seconds(30), generator: Generator
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

    /// Starts the machine, or ends a wait.
    mutating func timerFired() -> Step {
        guard case .waiting(let intent) = state else { return Step() }
        return begin(intent)
    }

    /// Handles a page that was read to its end.
    mutating func pageReceived(_ metadata: ListMetadata) -> Step {
        guard case .running(.list(let request)) = state else { return Step() }
        answered()
        if let token = metadata.continueToken, !token.isEmpty {
            // The token contains the version; servers reject a request with both.
            return begin(.list(ListRequest(resourceVersion: "", limit: request.limit, continueToken: token)))
        }
        var step = Step(replacements: commit(metadata.resourceVersion))
        step.add(begin(.watch))
        return step
    }

    /// Handles the failure of a list, or of a page of one.
    mutating func listFailed(_ failure: Failure) -> Step {
        guard case .running(.list(var request)) = state else { return Step() }
        let isPage = request.continueToken != nil
        request.continueToken = nil
        if failure.kind == .expired {
            expiredPages += isPage ? 1 : 0
            request.resourceVersion = ""
            // If the cluster changes faster than pages can be read, all objects are requested at once.
            request.limit = expiredPages < Patience.expiredPages ? pageSize : nil
            return isPage ? restart(.list(request)) : retry(.list(request), after: failure)
        }
        if failure.isFromTheFuture { request.resourceVersion = "" }
        if failure.kind == .timeout, request.limit == nil {
            slowLists += 1
            // A server that is too slow to return all objects at once may be fast enough for a page.
            if slowLists >= Patience.slowLists { request = ListRequest(resourceVersion: "", limit: pageSize) }
        }
        return retry(.list(request), after: failure)
    }

    /// Handles a watch's event about an object.
    mutating func objectChanged(resourceVersion: String) -> Step {
        // Initial events come in any order, so their versions are no progress.
        guard state == .running(.watch) else { return Step() }
        progressed()
        if !resourceVersion.isEmpty { self.resourceVersion = resourceVersion }
        return Step()
    }

    /// Handles a bookmark: the version that the watch has reached.
    mutating func bookmarkReceived(resourceVersion: String, endsInitialEvents: Bool) -> Step {
        switch state {
        case .running(.watch):
            hasToldAnything = true
            guard !resourceVersion.isEmpty, resourceVersion != self.resourceVersion else { return Step() }
            progressed()
            self.resourceVersion = resourceVersion
            return Step()
        case .running(.streamingList) where endsInitialEvents && !resourceVersion.isEmpty:
            // As after any other list, only later events are progress of the watch.
            answered()
            failedStreamingLists = 0
            state = .running(.watch)
            return Step(replacements: commit(resourceVersion))
        case .running(.streamingList):
            // A server without initial events sends other bookmarks.
            streamsLists = false
            return restart(.list(firstList))
        default: return Step()
        }
    }

    /// Handles the regular end of a watch or, with `wasCut`, that of its connection.
    mutating func watchEnded(after duration: Duration, wasCut: Bool = false) -> Step {
        switch state {
        case .running(.streamingList): return streamingListFailed(Failure(kind: .connection))
        case .running(.watch): break
        default: return Step()
        }
        let isComplete = !wasCut && duration >= durationOfWatch - .seconds(1)
        if isComplete || duration >= Self.workingDuration { backoff.reset() }
        // Bookmarks come about once a minute. If none came, the server may not have reached the store's version, as
        // after etcd was restored from a backup, and would stay silent for ever.
        if isComplete { return hasToldAnything ? begin(.watch) : relist() }
        let next = hasProgressed ? .version : resumption(.version)
        guard duration < .seconds(1) || next != .version else { return begin(.version) }
        return wait(for: next, delay: backoff.next(using: &generator))
    }

    /// Handles a watch that was rejected, could not be read further, went silent or sent an error.
    mutating func watchFailed(_ failure: Failure) -> Step {
        switch state {
        case .running(.streamingList): return streamingListFailed(failure)
        case .running(.watch): break
        default: return Step()
        }
        switch failure.kind {
        case .expired: return expired()
        // The server may have rejected the version.
        case .refused: return retry(relistIntent(), after: failure)
        default: break
        }
        let intent = Self.mayBeAnotherServer(failure) ? Intent.version : .watch
        let isUseless =
            failure.endedWatch || failure.isFromTheFuture || failure.kind == .malformed || failure.status == 500
            // The server is reachable: it has just returned its newest version.
            || followsVersion && failure.kind != .unauthorized && failure.kind != .credentials
        return retry(isUseless ? resumption(intent) : intent, after: failure)
    }

    /// Returns the intent after a watch without progress: at first `intent`, after a few times a list. An event that
    /// the server fails at, or that cannot be read, may persist for ever, and an event that is missing may never come;
    /// a list gets around all of these. If the watches after it make no progress either, the next list comes later and
    /// later.
    private mutating func resumption(_ intent: Intent) -> Intent {
        uselessWatches += 1
        let patience = min(Patience.uselessWatches << min(listsInVain, 8), Patience.mostUselessWatches)
        guard uselessWatches >= patience else { return intent }
        listsInVain += 1
        return relistIntent()
    }

    /// Handles the newest version. An earlier version has a smaller number ("Resource versions", Kubernetes API
    /// concepts): if the store's version is larger, versions have started over, as after etcd was restored from a
    /// backup.
    mutating func versionReceived(_ version: String) -> Step {
        guard state == .running(.version) else { return Step() }
        answered()
        if let newest = UInt64(version), let ours = UInt64(resourceVersion), newest < ours { return relist() }
        let step = begin(.watch)
        followsVersion = true
        return step
    }

    /// Handles a failed request for the newest version.
    mutating func versionFailed(_ failure: Failure) -> Step {
        guard state == .running(.version) else { return Step() }
        return switch failure.kind {
        // The watch is a different request, and may succeed.
        case .forbidden, .refused, .malformed, .expired: begin(.watch)
        default: retry(.version, after: failure)
        }
    }

    /// Whether the next response after a failure may come from another state of the cluster.
    private static func mayBeAnotherServer(_ failure: Failure) -> Bool {
        switch failure.kind {
        case .connection, .timeout, .tls, .server, .throttled, .forbidden: true
        default: false
        }
    }

    /// The duration after which a watch shows that the server is healthy.
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

    /// Records that the server has admitted a request.
    private mutating func answered() { hasReloadedCredentials = false }

    /// Records progress of the watch.
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

    /// Returns the intent that requests all objects again, in a state not older than the store's.
    private func relistIntent() -> Intent {
        streamsLists ? .streamingList : .list(ListRequest(resourceVersion: "", limit: pageSize))
    }

    private mutating func relist() -> Step { restart(relistIntent()) }

    /// Requests all objects again: at once, or with backoff if the watch after the previous time expired as well.
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
        // With the feature gate WatchList off, and before 1.27, the server answers 422 Invalid; a proxy in front of it
        // may answer otherwise.
        case 400, 404, 405, 406, 415, 422, 501:
            streamsLists = false
            return restart(.list(firstList))
        default: break
        }
        // A list may succeed where a stream fails.
        guard failedStreamingLists < Patience.streamingLists else {
            failedStreamingLists = 0
            return retry(.list(firstList), after: failure)
        }
        return retry(.streamingList, after: failure)
    }

    /// The list that replaces a streaming one.
    private var firstList: ListRequest {
        isSynced ? ListRequest(resourceVersion: "", limit: pageSize) : ListRequest()
    }

    /// Begins an intent at once, and abandons the set being gathered.
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
        // A server has no reason to ask for more than a few minutes.
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
