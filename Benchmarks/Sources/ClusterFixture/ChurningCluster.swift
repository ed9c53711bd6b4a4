// SPDX-License-Identifier: Apache-2.0

import KubernetesTestKit
import SyntheticCluster

/// A synthetic cluster in an API server, and the changes of its pods.
struct ChurningCluster {
    private let model: SyntheticCluster
    private let server: APIServerFixture
    private var generations: [Int: Int] = [:]
    private var changes = 0

    /// Fills a server with the cluster.
    init(_ model: SyntheticCluster, on server: APIServerFixture) {
        self.model = model
        self.server = server
        server.apply(model.nodes, padding: 4_000)
        server.apply(model.services, padding: 1_000)
        server.apply(model.replicaSets, padding: 500)
        for number in 0..<model.podCount { server.apply(model.pod(number), padding: SyntheticCluster.padding(number)) }
        // The changes so far are not needed for watches: the server forgets them.
        server.compact()
    }

    /// Changes a pod: of five changes, four update nothing that labels depend on, and one deletes and replaces the pod.
    mutating func change() {
        let number = changes * 7_919 % model.podCount
        let generation = generations[number, default: 0]
        let padding = SyntheticCluster.padding(number)
        if changes % 5 == 0 {
            server.delete(model.pod(number, generation: generation))
            server.apply(model.pod(number, generation: generation + 1), padding: padding)
            generations[number] = generation + 1
        } else {
            server.apply(model.pod(number, generation: generation), padding: padding + changes % 100)
        }
        changes += 1
    }
}
