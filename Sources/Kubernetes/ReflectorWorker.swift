// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import Logging
import Retry

/// Does what the state machine says: makes requests, reads their answers and feeds the store. It lives on one thread.
final class ReflectorWorker<Object: Sendable, Transport: KubernetesTransport & ~Copyable> {
    private typealias Step = ReflectorStep

    private let resource: KubernetesResource<Object>
    private let store: any ObjectStore<Object>
    private let statistics: ReflectorStatisticsBox
    private let cancellation: HTTPCancellation
    private let wait: (Duration) -> Void
    private var log: ReflectorLog
    private var transport: Transport
    private var machine: ReflectorStateMachine<SystemRandomNumberGenerator>
    /// Whether the store was told to begin a new set.
    private var isGathering = false
    /// Objects of the set that is being gathered.
    private var gathered = 0
    /// Changes after the first object that went before the set was whole: they come after it, in their order.
    private var heldBack: [ObjectChange<Object>] = []
    private var hasWatched = false

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
        log = ReflectorLog(resource: resource.name, logger: logger)
        self.transport = transport
        machine = ReflectorStateMachine(
            streamsLists: configuration.streamsLists, pageSize: configuration.pageSize,
            watchSeconds: configuration.watchSeconds,
            backoff: Backoff(initial: configuration.initialBackoff, maximum: configuration.maximumBackoff),
            forbiddenDelay: configuration.forbiddenDelay, generator: SystemRandomNumberGenerator())
    }

    /// Works until it is cancelled.
    func run() {
        var step = machine.timerFired()
        while !cancellation.isCancelled {
            take(step)
            if step.reloadsCredentials { transport.expireCredentials() }
            switch step.action {
            case .list(let request): step = list(request)
            case .watch(let request): step = watch(request)
            case .wait(let duration):
                wait(duration)
                step = machine.timerFired()
            case nil: return
            }
        }
        if isGathering { store.abandonReplacement() }
    }

    /// Carries out what a step says of the set that is being gathered.
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
        var exchange = KubernetesExchange()
        let problem = get(
            parameters, accept: resource.listContentType,
            timeouts: KubernetesClient.Timeouts(stallSeconds: 60, totalMilliseconds: 600_000), &exchange
        ) { chunk throws(KubernetesDecodingError) in
            statistics.update { $0.lastActivity = .now }
            try decoder.feed(chunk) { object in
                store.add(object)
                gathered += 1
            }
            return true
        }
        note(decoder.malformedObjects, decoder.lastMalformedObject)
        note(unreadableAddresses: decoder.unreadableAddresses)
        if let problem = exchange.refusal(verb: "list", resource.name) ?? problem { return listFailed(problem) }
        do throws(KubernetesDecodingError) {
            return machine.pageReceived(try decoder.finish())
        } catch {
            return listFailed(RequestProblem(error))
        }
    }

    private func listFailed(_ problem: RequestProblem) -> Step {
        report(problem, machine.listFailed(problem.failure))
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
        case .ended(let duration): return machine.watchEnded(after: duration)
        case .failed(let problem): return watchFailed(problem, request)
        }
    }

    private enum WatchOutcome {
        /// One of its events asks for something else.
        case left(Step)
        case ended(Duration)
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
        let start = ContinuousClock.now
        // The server ends it; the client does where the server fails to.
        let timeouts = KubernetesClient.Timeouts(totalMilliseconds: (request.timeoutSeconds + 30) * 1000)
        let problem = get(parameters, accept: resource.watchContentType, timeouts: timeouts, &exchange) {
            chunk throws(KubernetesDecodingError) in
            var changes: [ObjectChange<Object>] = []
            defer { apply(changes) }
            try decoder.feed(chunk) { event in
                guard step == nil, status == nil else { return }
                if case .failed(let error) = event { status = error } else { step = take(event, &changes) }
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
        if let status { return .failed(RequestProblem(status, verb: "watch", resource.name)) }
        if let refusal = exchange.refusal(verb: "watch", resource.name) { return .failed(refusal) }
        // That its connection is cut is one of the ways in which a watch ends.
        if let problem, exchange.head == nil || problem.failure.kind == .malformed { return .failed(problem) }
        return .ended(.now - start)
    }

    private func watchFailed(_ problem: RequestProblem, _ request: Step.WatchRequest) -> Step {
        let step = machine.watchFailed(problem.failure)
        if request.sendsInitialEvents, case .list = step.action {
            log.reportMissingStreamingLists(problem.message)
            return step
        }
        return report(problem, step)
    }

    /// Takes one event; returns a step where it ends the watch.
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
            // The set knows no deletions.
            heldBack.append(change)
        }
    }

    private func apply(_ changes: [ObjectChange<Object>]) {
        if !changes.isEmpty { store.apply(changes) }
        statistics.update {
            $0.lastActivity = .now
            $0.changes += UInt64(changes.count)
            $0.resourceVersion = machine.resourceVersion
        }
    }

    // MARK: - Requests

    private var selection: [(name: String, value: String)] {
        resource.fieldSelector.map { [("fieldSelector", $0)] } ?? []
    }

    /// Makes a request; what came of it is in `exchange` and, where it did not come to its end, in the problem.
    private func get(
        _ parameters: [(name: String, value: String)], accept: String, timeouts: KubernetesClient.Timeouts,
        _ exchange: inout KubernetesExchange,
        onChunk: (UnsafeRawBufferPointer) throws(KubernetesDecodingError) -> Bool
    ) -> RequestProblem? {
        var problem: RequestProblem?
        do throws(KubernetesClientError) {
            try transport.refreshCredentials()
            if log.reportStaleCredentials(transport.staleCredentials) { count(.credentials) }
            _ = try transport.get(
                resource.path, parameters: parameters, accept: accept, timeouts: timeouts, cancellation: cancellation
            ) { head in
                exchange.head = head
                if head.status == 200 { began() }
                return true
            } onBody: { chunk in
                guard exchange.head?.status == 200 else { return exchange.addToRefusal(chunk) }
                do throws(KubernetesDecodingError) {
                    return try onChunk(chunk)
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

    private func began() {
        let isWatching = !machine.isReplacing
        statistics.update {
            $0.lastActivity = .now
            if isWatching {
                $0.watchingSince = .now
                $0.lastError = nil
            }
        }
    }

    private func report(_ problem: RequestProblem, _ step: Step) -> Step {
        guard !cancellation.isCancelled else { return step }
        count(problem.failure.kind)
        statistics.update { $0.lastError = problem.message }
        if case .wait(let delay) = step.action { log.reportFailure(problem, nextAttemptIn: delay) }
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
