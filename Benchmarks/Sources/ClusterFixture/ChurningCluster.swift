// SPDX-License-Identifier: Apache-2.0

import KubernetesTestKit
import SyntheticCluster

/// A made-up cluster that an API server holds, and how its pods change.
struct ChurningCluster {
    private let model: SyntheticCluster
    private let server: APIServerFixture
    private var generations: [Int: Int] = [:]
    private var changes = 0

    /// Fills a server.
    init(_ model: SyntheticCluster, on server: APIServerFixture) {
        self.model = model
        self.server = server
        server.apply(model.nodes, padding: 4_000)
        server.apply(model.services, padding: 1_000)
        server.apply(model.replicaSets, padding: 500)
        for number in 0..<model.podCount { server.apply(model.pod(number), padding: SyntheticCluster.padding(number)) }
        // What has happened so far is nobody's to watch.
        server.compact()
    }

    /// Changes a pod: of five, four are updated in nothing that labels are made of, one is deleted and replaced.
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
