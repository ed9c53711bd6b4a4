// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import HTTPClient
import Logging
import Retry

/// Executes the state machine's steps: makes requests, reads their responses and feeds the store, all on one thread.
final class ReflectorWorker<Object: Sendable, Transport: KubernetesTransport & ~Copyable> {
    private typealias Step = ReflectorStep

    private let resource: KubernetesResource<Object>
    private let store: any ObjectStore<Object>
    private let statistics: ReflectorStatisticsBox
    private let cancellation: HTTPCancellation
    private let wait: (Duration) -> Void
    private let bookmarkInterval: Duration
    private let listSilence: Duration
    private var log: ReflectorLog
    private var transport: Transport
    private var machine: ReflectorStateMachine<SystemRandomNumberGenerator>
    /// Whether the store has begun a new set.
    private var isGathering = false
    /// Objects in the set being gathered.
    private var gathered = 0
    /// Changes from the first deletion on that arrive before the set is complete; they are applied after it, in their
    /// order.
    private var heldBack: [ObjectChange<Object>] = []
    private var hasWatched = false
    /// Whether any watch has received a bookmark.
    private var hasBookmarks = false

    init(
        _ resource: KubernetesResource<Object>, _ transport: consuming Transport, _ store: any ObjectStore<Object>,
        _ configuration: Reflector<Object>.Configuration, _ logger: Logger, _ statistics: ReflectorStatisticsBox,
        _ cancellation: HTTPCancellation, wait: @escaping (Duration) -> Void
    ) {
        self.resource = resource
        self.store = store
        self.statistics = statistics
        self.cancellation = cancellation
        self.wait = wait
        bookmarkInterval = configuration.bookmarkInterval
        listSilence = configuration.listSilence
        log = ReflectorLog(resource: resource.name, logger: logger)
        self.transport = transport
        machine = ReflectorStateMachine(
            streamsLists: configuration.streamsLists, pageSize: configuration.pageSize,
            watchSeconds: configuration.watchSeconds,
            backoff: configuration.backoff,
            forbiddenDelay: configuration.forbiddenDelay, generator: SystemRandomNumberGenerator())
    }

    /// Runs until it is cancelled.
    func run() {
        var step = machine.timerFired()
        while !cancellation.isCancelled {
            take(step)
            if step.reloadsCredentials { transport.expireCredentials() }
            switch step.action {
            case .list(let request): step = list(request)
            case .watch(let request): step = watch(request)
            case .version: step = askVersion()
            case .wait(let duration):
                wait(duration)
                step = machine.timerFired()
            case nil: return
            }
        }
        if isGathering { store.abandonReplacement() }
    }

    /// Carries out a step's changes of the set being gathered.
    private func take(_ step: Step) {
        for replacement in step.replacements {
            isGathering = replacement == .begin
            switch replacement {
            case .begin:
                gathered = 0
                store.beginReplacement()
            case .commit:
                store.commitReplacement()
                log.reportList(gathered)
            case .abandon:
                heldBack = []
                store.abandonReplacement()
            }
        }
        guard step.replacements.contains(.commit) else { return }
        statistics.update {
            $0.isSynced = true
            $0.listedObjects = gathered
            $0.resourceVersion = machine.resourceVersion
            $0.relists = UInt64(machine.relists)
            $0.lastProgress = .now
            $0.lastError = nil
        }
    }

    // MARK: - Lists

    private func list(_ request: Step.ListRequest) -> Step {
        var parameters = selection
        if let token = request.continueToken {
            parameters.append(("continue", token))
        } else if !request.resourceVersion.isEmpty {
            parameters.append(("resourceVersion", request.resourceVersion))
        }
        if let limit = request.limit { parameters.append(("limit", "\(limit)")) }
        var decoder = ListDecoder(resource)
        let page = read(&decoder, parameters) { object in
            store.add(object)
            gathered += 1
        }
        note(decoder.malformedObjects, decoder.lastMalformedObject)
        note(unreadableAddresses: decoder.unreadableAddresses)
        switch page {
        case .success(let metadata): return machine.pageReceived(metadata)
        case .failure(let problem): return report(problem, machine.listFailed(problem.failure))
        }
    }

    /// Requests the newest version, which is that of a list of one object. Without a selector, the server does not have
    /// to search for the object.
    private func askVersion() -> Step {
        var decoder = ListDecoder(resource)
        switch read(&decoder, [("limit", "1")], { _ in }) {
        case .success(let metadata):
            let step = machine.versionReceived(metadata.resourceVersion)
            if machine.isReplacing {
                log.reportEarlierVersion(metadata.resourceVersion, known: machine.resourceVersion)
            }
            return step
        case .failure(let problem): return report(problem, machine.versionFailed(problem.failure))
        }
    }

    /// Reads a list, or a page of one, to its end.
    private func read(
        _ decoder: inout ListDecoder<Object>, _ parameters: [(name: String, value: String)], _ body: (Object) -> Void
    ) -> Result<ListMetadata, RequestProblem> {
        var exchange = KubernetesExchange()
        var pulse = WatchPulse(bookmarkInterval: bookmarkInterval, listSilence: listSilence, isListing: true)
        let problem = get(
            parameters, accept: resource.listContentType,
            timeouts: KubernetesClient.Timeouts(totalMilliseconds: 600_000), &exchange, &pulse
        ) { chunk, _ throws(KubernetesDecodingError) in
            try decoder.feed(chunk, body)
            return true
        }
        if let problem = exchange.refusal(verb: "list", resource.name) ?? problem { return .failure(problem) }
        do throws(KubernetesDecodingError) {
            return .success(try decoder.finish())
        } catch {
            return .failure(RequestProblem(error))
        }
    }

    // MARK: - Watches

    private func watch(_ request: Step.WatchRequest) -> Step {
        var parameters = selection + [("watch", "1"), ("allowWatchBookmarks", "true")]
        parameters.append(("timeoutSeconds", "\(request.timeoutSeconds)"))
        if request.sendsInitialEvents {
            parameters += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        } else {
            parameters.append(("resourceVersion", request.resourceVersion))
            if hasWatched { statistics.update { $0.watchRestarts += 1 } }
        }
        hasWatched = true
        let outcome = follow(request, parameters)
        statistics.update { $0.watchingSince = nil }
        switch outcome {
        case .left(let step): return step
        case .ended where machine.isReplacing: return watchFailed(.unfinishedStreamingList, request)
        case .ended(let duration, let wasCut): return machine.watchEnded(after: duration, wasCut: wasCut)
        case .failed(let problem): return watchFailed(problem, request)
        }
    }

    private enum WatchOutcome {
        /// An event requires another action.
        case left(Step)
        case ended(after: Duration, wasCut: Bool)
        case failed(RequestProblem)
    }

    /// Reads a watch to its end.
    private func follow(_ request: Step.WatchRequest, _ parameters: [(name: String, value: String)]) -> WatchOutcome {
        var decoder = WatchDecoder(resource)
        var exchange = KubernetesExchange()
        var malformedObjects = 0
        var unreadableAddresses = 0
        var step: Step?
        var status: KubernetesStatus?
        var pulse = WatchPulse(
            bookmarkInterval: bookmarkInterval, listSilence: listSilence, isListing: request.sendsInitialEvents,
            hasBookmarks: hasBookmarks)
        let start = ContinuousClock.now
        // The server ends the watch; if it fails to, the client does.
        let timeouts = KubernetesClient.Timeouts(totalMilliseconds: (request.timeoutSeconds + 30) * 1000)
        let problem = get(parameters, accept: resource.watchContentType, timeouts: timeouts, &exchange, &pulse) {
            statistics.update { $0.watchingSince = .now }
        } onChunk: { chunk, pulse throws(KubernetesDecodingError) in
            var changes: [ObjectChange<Object>] = []
            var hasTold = false
            defer { apply(changes, hasTold: hasTold) }
            try decoder.feed(chunk) { event in
                guard step == nil, status == nil else { return }
                switch event {
                case .failed(let error):
                    status = error
                    return
                case .bookmark(_, let endsInitialEvents):
                    pulse.bookmark(endsList: endsInitialEvents)
                    hasBookmarks = true
                case .updated, .deleted: break
                }
                hasTold = true
                step = take(event, &changes)
            }
            if decoder.malformedObjects > malformedObjects {
                note(decoder.malformedObjects - malformedObjects, decoder.lastMalformedObject)
                malformedObjects = decoder.malformedObjects
            }
            note(unreadableAddresses: decoder.unreadableAddresses - unreadableAddresses)
            unreadableAddresses = decoder.unreadableAddresses
            return step == nil && status == nil
        }
        if let step { return .left(step) }
        if let status { return .failed(RequestProblem(status, verb: "watch", resource.name).ofBegunWatch) }
        if let refusal = exchange.refusal(verb: "watch", resource.name) { return .failed(refusal) }
        guard let problem else { return .ended(after: .now - start, wasCut: false) }
        guard exchange.head != nil else { return .failed(problem) }
        switch problem.failure.kind {
        case .timeout where pulse.end.map { $0 <= .now } ?? false:
            return .failed(RequestProblem.silence(of: resource.name, for: pulse.longestSilence).ofBegunWatch)
        case .timeout, .malformed: return .failed(problem.ofBegunWatch)
        // A cut connection is a regular way for a watch to end.
        default: return .ended(after: .now - start, wasCut: true)
        }
    }

    private func watchFailed(_ problem: RequestProblem, _ request: Step.WatchRequest) -> Step {
        let step = machine.watchFailed(problem.failure)
        if request.sendsInitialEvents, case .list = step.action {
            log.reportMissingStreamingLists(problem.message)
            return step
        }
        return report(problem, step)
    }

    /// Handles one event; returns a step if it ends the watch.
    private func take(_ event: WatchEvent<Object>, _ changes: inout [ObjectChange<Object>]) -> Step? {
        let step: Step
        switch event {
        case .updated(let object, let version):
            step = machine.objectChanged(resourceVersion: version)
            add(.updated(object), &changes)
        case .deleted(let object, let version):
            step = machine.objectChanged(resourceVersion: version)
            add(.deleted(object), &changes)
        case .bookmark(let version, let endsInitialEvents):
            step = machine.bookmarkReceived(resourceVersion: version, endsInitialEvents: endsInitialEvents)
        case .failed: return nil
        }
        if machine.isSynced { log.reportRecovery() }
        guard step.action == nil else { return step }
        take(step)
        if step.replacements.contains(.commit) {
            changes += heldBack
            heldBack = []
        }
        return nil
    }

    private func add(_ change: ObjectChange<Object>, _ changes: inout [ObjectChange<Object>]) {
        guard machine.isReplacing else { return changes.append(change) }
        if case .updated(let object) = change, heldBack.isEmpty {
            store.add(object)
            gathered += 1
        } else {
            // The store cannot delete objects from an incomplete set.
            heldBack.append(change)
        }
    }

    private func apply(_ changes: [ObjectChange<Object>], hasTold: Bool) {
        if hasTold, !machine.isReplacing { store.apply(changes) }
        statistics.update {
            if hasTold {
                $0.lastProgress = .now
                $0.lastError = nil
            }
            $0.changes += UInt64(changes.count)
            $0.resourceVersion = machine.resourceVersion
        }
    }

    // MARK: - Requests

    private var selection: [(name: String, value: String)] {
        resource.fieldSelector.map { [("fieldSelector", $0)] } ?? []
    }

    /// Makes a request, whose response is recorded in `exchange`; returns the problem if the request did not complete.
    private func get(
        _ parameters: [(name: String, value: String)], accept: String, timeouts: KubernetesClient.Timeouts,
        _ exchange: inout KubernetesExchange, _ pulse: inout WatchPulse, onBegin: () -> Void = {},
        onChunk: (UnsafeRawBufferPointer, inout WatchPulse) throws(KubernetesDecodingError) -> Bool
    ) -> RequestProblem? {
        var problem: RequestProblem?
        do throws(KubernetesClientError) {
            try transport.refreshCredentials()
            if log.reportStaleCredentials(transport.staleCredentials) { count(.credentials) }
            _ = try transport.get(
                resource.path, parameters: parameters, accept: accept, timeouts: timeouts, cancellation: cancellation,
                silenceEnds: { pulse.end }
            ) { head in
                exchange.head = head
                pulse.beat()
                if head.status == 200 { onBegin() }
                return true
            } onBody: { chunk in
                pulse.beat()
                guard exchange.head?.status == 200 else { return exchange.addToRefusal(chunk) }
                do throws(KubernetesDecodingError) {
                    return try onChunk(chunk, &pulse)
                } catch {
                    problem = RequestProblem(error)
                    return false
                }
            }
        } catch {
            return RequestProblem(error)
        }
        return problem
    }

    private func report(_ problem: RequestProblem, _ step: Step) -> Step {
        guard !cancellation.isCancelled else { return step }
        count(problem.failure.kind)
        statistics.update { $0.lastError = problem.message }
        if case .wait(let delay) = step.action {
            log.reportFailure(problem, needsHelp: step.needsHelp, nextAttemptIn: delay)
        }
        return step
    }

    private func count(_ kind: ReflectorFailure) { statistics.update { $0.failures[kind, default: 0] += 1 } }

    private func note(_ malformedObjects: Int, _ last: MalformedObject?) {
        guard malformedObjects > 0, let last else { return }
        statistics.update { $0.malformedObjects += UInt64(malformedObjects) }
        log.reportMalformedObject(last)
    }

    private func note(unreadableAddresses: Int) {
        guard unreadableAddresses > 0 else { return }
        statistics.update { $0.unreadableAddresses += UInt64(unreadableAddresses) }
    }
}
