// SPDX-License-Identifier: Apache-2.0

import KubernetesAPI
import Labeling
import Logging
import Operations
import ServiceLifecycle
import Synchronization

/// Keeps the index in step with the cluster.
///
/// Nodes, services and ReplicaSets come first, pods when those are in: a pod's labels are made of theirs too, once.
final class ClusterWatch: Service, CustomStringConvertible {
    /// A resource's reflector, whatever its objects are.
    private struct Watch: Sendable {
        let name: String
        let start: @Sendable (_ onEnd: @escaping @Sendable () -> Void) -> Void
        let stop: @Sendable () -> Void
        let statistics: @Sendable () -> ReflectorStatistics
        /// Whether labels would be wrong without it, and not only poorer.
        let isRequired: Bool

        init<Object>(_ reflector: Reflector<Object>, isRequired: Bool = true) {
            self.isRequired = isRequired
            name = reflector.name
            start = { reflector.start(onEnd: $0) }
            stop = reflector.stop
            statistics = { reflector.statistics }
        }
    }

    let description = "cluster watch"

    /// The watch of pods, and whether it may be, or have been, replaced.
    private struct Pods {
        var watch: Watch
        /// Whether there has been a whole list, be it of an earlier watch.
        var isSynced = false
        var isStarted = false
        var isStopped = false

        /// Whether labels can be made; what an earlier watch has listed is good enough until the next has.
        mutating func noteSynced() -> Bool {
            isSynced = isSynced || watch.statistics().isSynced
            return isSynced
        }
    }

    private let first: [Watch]
    private let pods: Mutex<Pods>
    private let makePods: @Sendable (PodLabelMapping) -> Watch

    init(
        _ settings: KubernetesSettings, cluster: ClusterConfiguration, podLabels: PodLabelMapping, index: ClusterIndex,
        logger: Logger
    ) {
        var first = [
            Watch(Reflector(.nodes, of: cluster, store: index.nodeStore(), logger: logger)),
            Watch(Reflector(.services, of: cluster, store: index.serviceStore(), logger: logger)),
        ]
        if settings.watchesReplicaSets {
            first.append(
                Watch(
                    Reflector(.replicaSets, of: cluster, store: index.replicaSetStore(), logger: logger),
                    isRequired: false))
        }
        self.first = first
        let store = index.podStore()
        let makePods = { @Sendable (labels: PodLabelMapping) in
            Watch(Reflector(.pods(labels: labels), of: cluster, store: store, logger: logger))
        }
        self.makePods = makePods
        pods = Mutex(Pods(watch: makePods(podLabels)))
    }

    /// Lists all pods anew, whose labels fill other columns from now on or are asked for by other rules. Until they are
    /// listed, everybody is labelled as before.
    func apply(_ podLabels: PodLabelMapping) {
        let watch = makePods(podLabels)
        let old = pods.withLock { pods -> Watch? in
            guard !pods.isStopped else { return nil }
            _ = pods.noteSynced()
            defer { pods.watch = watch }
            return pods.isStarted ? pods.watch : nil
        }
        // The next begins when this one has ended: they have a store in common.
        old?.stop()
    }

    private func startPods() {
        let watch = pods.withLock { pods in
            pods.isStarted = true
            return pods.isStopped ? nil : pods.watch
        }
        watch?.start { self.startPods() }
    }

    private func stopPods() {
        let watch = pods.withLock { pods in
            pods.isStopped = true
            return pods.watch
        }
        watch.stop()
    }

    /// What has become of each resource's lists and watches, by its name.
    var statistics: [(name: String, statistics: ReflectorStatistics)] {
        (first + [podWatch]).map { ($0.name, $0.statistics()) }
    }

    /// Whether everything that must be has been listed once, and what is not watched now: that is no reason to turn agents
    /// away, who would find no better server.
    var readiness: HealthCheck {
        let missing = unlisted.map { (name: $0.name, statistics: $0.statistics()) }
        guard let failed = missing.first(where: { $0.statistics.lastError != nil }) ?? missing.first else {
            let remarks = statistics.compactMap { $0.statistics.remark(on: $0.name) }
            return HealthCheck(
                "kubernetes", problem: nil, remark: remarks.isEmpty ? nil : remarks.joined(separator: "; "))
        }
        return HealthCheck(
            "kubernetes",
            problem: "\(missing.map(\.name).joined(separator: ", ")) not listed yet"
                + (failed.statistics.lastError.map { ": \($0)" } ?? ""))
    }

    private var podWatch: Watch { pods.withLock { $0.watch } }

    /// What must be listed once and has not been.
    private var unlisted: [Watch] {
        first.filter { $0.isRequired && !$0.statistics().isSynced }
            + pods.withLock { $0.noteSynced() ? [] : [$0.watch] }
    }

    /// Returns once everything that must be has been listed, or when the daemon shuts down.
    func waitUntilSynced() async { await wait { self.unlisted.isEmpty } }

    func run() async throws {
        for watch in first { watch.start {} }
        await wait {
            self.first.allSatisfy { watch in
                let statistics = watch.statistics()
                return statistics.isSynced || (!watch.isRequired && !statistics.failures.isEmpty)
            }
        }
        startPods()
        try? await gracefulShutdown()
        for watch in first { watch.stop() }
        stopPods()
    }

    private func wait(until condition: @escaping @Sendable () -> Bool) async {
        await cancelWhenGracefulShutdown {
            while !condition(), !Task.isCancelled { try? await Task.sleep(for: .milliseconds(50)) }
        }
    }
}

extension ReflectorStatistics {
    /// After how long a watch that tells nothing is remarked upon: a bookmark comes about once a minute.
    private static let remarkableSilence = Duration.seconds(120)

    /// What is wrong with a resource that has been listed; nil where it is watched.
    func remark(on resource: String) -> String? {
        guard isSynced else { return nil }
        if watchingSince == nil, let lastError { return "\(resource) are not watched: \(lastError)" }
        guard let silence = lastProgress?.duration(to: .now), silence > Self.remarkableSilence else { return nil }
        return "\(resource) are as they were \(silence.wholeSeconds) s ago: \(lastError ?? "the watch is silent")"
    }
}
