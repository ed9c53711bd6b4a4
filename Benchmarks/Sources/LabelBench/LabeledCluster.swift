// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import SyntheticCluster

/// A labeler whose index holds a synthetic cluster.
struct LabeledCluster {
    static let site = Site(environment: "bench", cloud: "aws", region: "eu-central-1", cluster: "bench")

    let model: SyntheticCluster
    let index: ClusterIndex
    let labeler: Labeler
    let pods: any ObjectStore<Pod>

    /// - Parameter now: The time of the index's clock, in seconds since the Unix epoch; nil for the system's.
    init(_ model: SyntheticCluster, now: UInt32? = nil) {
        self.model = model
        index = ClusterIndex(site: Self.site, now: { now ?? WallClock.seconds() })
        // Flows between pods of nodes other than the observer's are labelled too, so that they cost as much as the
        // rest.
        labeler = Labeler(
            index: index, configuration: Labeler.Configuration(ignoreUnknownDirection: false))
        pods = index.podStore()
        Self.replaceAll(of: index.nodeStore(), with: model.nodes)
        Self.replaceAll(of: index.serviceStore(), with: model.services)
        Self.replaceAll(of: index.replicaSetStore(), with: model.replicaSets)
        listPods()
        // The agents of the other half of the nodes are connected to another server.
        for number in stride(from: 0, to: model.nodeCount, by: 2) {
            index.setHostAddresses(model.hostAddresses(ofNode: number), ofNode: model.pod(number).node)
        }
    }

    /// Replaces all pods, as a relist does.
    func listPods() {
        pods.beginReplacement()
        for number in 0..<model.podCount { pods.add(model.pod(number)) }
        pods.commitReplacement()
    }

    private static func replaceAll<Object>(of store: any ObjectStore<Object>, with objects: [Object]) {
        store.beginReplacement()
        for object in objects { store.add(object) }
        store.commitReplacement()
    }
}
