// SPDX-License-Identifier: Apache-2.0

import Kubernetes
import Labeling
import Logging
import Operations
import ServiceLifecycle

/// Keeps the index in step with the cluster.
///
/// Nodes, services and ReplicaSets come first, pods when those are in: a pod's labels are made of theirs too, once.
final class ClusterWatch: Service, CustomStringConvertible {
    /// A resource's reflector, whatever its objects are.
    private struct Watch: Sendable {
        let name: String
        let start: @Sendable () -> Void
        let stop: @Sendable () -> Void
        let statistics: @Sendable () -> ReflectorStatistics
        /// Whether labels would be wrong without it, and not only poorer.
        let isRequired: Bool

        init<Object>(_ reflector: Reflector<Object>, isRequired: Bool = true) {
            self.isRequired = isRequired
            name = reflector.name
            start = reflector.start
            stop = reflector.stop
            statistics = { reflector.statistics }
        }
    }

    let description = "cluster watch"

    private let first: [Watch]
    private let pods: Watch

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
        pods = Watch(Reflector(.pods(labels: podLabels), of: cluster, store: index.podStore(), logger: logger))
    }

    /// What has become of each resource's lists and watches, by its name.
    var statistics: [(name: String, statistics: ReflectorStatistics)] {
        (first + [pods]).map { ($0.name, $0.statistics()) }
    }

    /// Whether everything that must be has been listed once.
    var readiness: HealthCheck {
        let missing = required.map { (name: $0.name, statistics: $0.statistics()) }.filter { !$0.statistics.isSynced }
        guard let failed = missing.first(where: { $0.statistics.lastError != nil }) ?? missing.first else {
            return HealthCheck("kubernetes", problem: nil)
        }
        return HealthCheck(
            "kubernetes",
            problem: "\(missing.map(\.name).joined(separator: ", ")) not listed yet"
                + (failed.statistics.lastError.map { ": \($0)" } ?? ""))
    }

    private var required: [Watch] { (first + [pods]).filter(\.isRequired) }

    /// Returns once everything that must be has been listed, or when the daemon shuts down.
    func waitUntilSynced() async { await wait { self.required.allSatisfy { $0.statistics().isSynced } } }

    func run() async throws {
        for watch in first { watch.start() }
        await wait {
            self.first.allSatisfy { watch in
                let statistics = watch.statistics()
                return statistics.isSynced || (!watch.isRequired && !statistics.failures.isEmpty)
            }
        }
        pods.start()
        try? await gracefulShutdown()
        for watch in first + [pods] { watch.stop() }
    }

    private func wait(until condition: @escaping @Sendable () -> Bool) async {
        await cancelWhenGracefulShutdown {
            while !condition(), !Task.isCancelled { try? await Task.sleep(for: .milliseconds(50)) }
        }
    }
}
