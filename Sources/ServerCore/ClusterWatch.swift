// SPDX-License-Identifier: Apache-2.0

package import ClusterModel
package import KubernetesAPI
package import Labeling
package import Logging
package import Probes
import ServiceLifecycle
import Synchronization
package import Threads

/// Keeps the index in sync with a cluster.
///
/// Nodes, services and ReplicaSets are listed before pods, because a pod's labels depend on them too and are thus made
/// once.
package final class ClusterWatch: Service, CustomStringConvertible {
    /// A reflector, with the type of its objects erased.
    private struct Watch: Sendable {
        let name: String
        let start: @Sendable (_ onEnd: @escaping @Sendable () -> Void) -> Void
        let stop: @Sendable () -> Void
        let statistics: @Sendable () -> ReflectorStatistics
        /// Whether labels would be wrong without the resource, and not only incomplete.
        let isRequired: Bool

        init<Object>(_ reflector: Reflector<Object>, isRequired: Bool) {
            self.isRequired = isRequired
            name = reflector.name
            start = { reflector.start(onEnd: $0) }
            stop = reflector.stop
            statistics = { reflector.statistics }
        }
    }

    package let description = "cluster watch"

    /// The watch of pods, which a reload replaces, and its state.
    private struct Pods {
        var watch: Watch
        /// Whether a complete list has arrived, from this watch or an earlier one.
        var isSynced = false
        var isStarted = false
        var isStopped = false

        /// Returns whether labels can be made; the list of an earlier watch is sufficient until the next one has
        /// listed.
        mutating func noteSynced() -> Bool {
            isSynced = isSynced || watch.statistics().isSynced
            return isSynced
        }
    }

    private let first: [Watch]
    private let pods: Mutex<Pods>
    private let makePods: @Sendable (PodLabelMapping) -> Watch
    /// Notified when the statistics of a watch have changed.
    package let changes: ChangeNotifier

    package init(
        _ settings: KubernetesSettings, cluster: ClusterConfiguration, id: ClusterID = .first,
        podLabels: PodLabelMapping, index: ClusterIndex, logger: Logger
    ) {
        let changes = ChangeNotifier()
        self.changes = changes
        @Sendable func watch<Object>(
            _ resource: KubernetesResource<Object>, _ store: any ObjectStore<Object>, isRequired: Bool = true
        ) -> Watch {
            let reflector = Reflector(resource, of: cluster, store: store, logger: logger) { changes.notify() }
            return Watch(reflector, isRequired: isRequired)
        }
        var first = [watch(.nodes, index.nodeStore(of: id)), watch(.services, index.serviceStore(of: id))]
        if settings.watchesReplicaSets {
            first.append(watch(.replicaSets, index.replicaSetStore(of: id), isRequired: false))
        }
        self.first = first
        let store = index.podStore(of: id)
        let makePods = { @Sendable (labels: PodLabelMapping) in watch(.pods(labels: labels), store) }
        self.makePods = makePods
        pods = Mutex(Pods(watch: makePods(podLabels)))
    }

    /// Lists all pods again, because their labels now fill other columns or other rules select by them. Until the list
    /// is complete, all pods are labelled as before.
    func apply(_ podLabels: PodLabelMapping) {
        let watch = makePods(podLabels)
        let old = pods.withLock { pods -> Watch? in
            guard !pods.isStopped else { return nil }
            _ = pods.noteSynced()
            defer { pods.watch = watch }
            return pods.isStarted ? pods.watch : nil
        }
        // The next watch begins when this one has ended, because they share a store.
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

    /// The statistics of each resource's lists and watches, by the resource's name.
    var statistics: [(name: String, statistics: ReflectorStatistics)] {
        (first + [podWatch]).map { ($0.name, $0.statistics()) }
    }

    /// The check that every required resource has been listed once. A resource that is no longer watched is only
    /// remarked on: it is no reason to turn agents away, because they would find no better server.
    package var readiness: HealthCheck {
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

    /// The required watches that have not listed yet.
    private var unlisted: [Watch] {
        first.filter { $0.isRequired && !$0.statistics().isSynced }
            + pods.withLock { $0.noteSynced() ? [] : [$0.watch] }
    }

    /// Waits until every required resource has been listed, or until the daemon shuts down.
    package func waitUntilSynced() async { await wait { self.unlisted.isEmpty } }

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
        await cancelWhenGracefulShutdown { await self.changes.wait(until: condition) }
    }
}

extension ReflectorStatistics {
    /// The silence after which a watch is remarked on; a bookmark arrives about once a minute.
    private static let remarkableSilence = Duration.seconds(120)

    /// Returns the problem with a resource that has been listed; nil while it is watched.
    package func remark(on resource: String) -> String? {
        guard isSynced else { return nil }
        if watchingSince == nil, let lastError { return "\(resource) are not watched: \(lastError)" }
        guard let silence = lastProgress?.duration(to: .now), silence > Self.remarkableSilence else { return nil }
        return "\(resource) may be stale: nothing received for \(silence.wholeSeconds) s"
            + (lastError.map { ": \($0)" } ?? "")
    }
}
