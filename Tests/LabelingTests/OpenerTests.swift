// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import Testing

/// Which end of a labelled flow opened the connection.
@Suite struct OpenerTests {
    private let labeler: Labeler

    init() {
        let index = ClusterIndex(site: Site(environment: "test", cloud: "aws", region: "eu-central-1", cluster: "main"))
        index.add(
            Inventory(
                nodes: [
                    Node(name: "node-a", addresses: [address("172.18.0.2")]),
                    Node(name: "node-b", addresses: [address("172.18.0.3")]),
                ],
                pods: [
                    Pod(namespace: "shop", name: "grpc", node: "node-a", addresses: [address("10.244.1.10")]),
                    Pod(namespace: "shop", name: "caller", node: "node-b", addresses: [address("10.244.2.10")]),
                ]))
        index.serviceStore().apply([
            .updated(
                ClusterService(
                    namespace: "edge", name: "ingress", clusterAddresses: [],
                    externalAddresses: [address("198.51.100.50")],
                    ports: [ClusterService.Port(transport: .tcp, number: 443)]))
        ])
        labeler = Labeler(index: index, configuration: Labeler.Configuration())
    }

    /// Returns the labelled flow's local address, opener and zone.
    private func label(_ flow: Flow, on node: String) -> String {
        labeler.read(observedOn: node, at: noon) { reader in
            guard case .labeled(let labeled) = reader.label(flow) else { return "not labelled" }
            return "\(labeled.local.address) \(labeled.isOpenedByLocal ? "local" : "remote") \(labeled.zone)"
        }
    }

    @Test("the source of the original tuple has opened the connection, whatever the ports and the observing node")
    func source() {
        for ports: (UInt16, UInt16) in [(32_768, 50_051), (60_000, 50_051), (443, 443), (1, 65_535)] {
            var called = flow("10.244.2.10", "10.244.1.10", ports: ports)
            called.zone = 7
            #expect(label(called, on: "node-a") == "10.244.1.10 remote 7")
            #expect(label(called, on: "node-b") == "10.244.2.10 local 7")
            #expect(label(flow("192.0.2.99", "10.244.1.10", ports: ports), on: "node-a") == "10.244.1.10 remote 0")
            #expect(label(flow("10.244.1.10", "192.0.2.99", ports: ports), on: "node-a") == "10.244.1.10 local 0")
        }
    }

    @Test("a service's backend, a masqueraded client and a client of another node's port are told as what they are")
    func translated() {
        var dialled = flow("10.244.2.10", "10.96.0.80", ports: (40_000, 80))
        (dialled.reply.source, dialled.reply.sourcePort) = (address("10.244.1.10"), 50_051)
        #expect(label(dialled, on: "node-b") == "10.244.2.10 local 0")
        var visitor = flow("192.0.2.99", "172.18.0.3", ports: (40_000, 30_443))
        (visitor.reply.source, visitor.reply.destination) = (address("10.244.1.10"), address("172.18.0.3"))
        #expect(label(visitor, on: "node-b") == "192.0.2.99 local 0")
    }

    @Test(
        "what is sent from a load balancer's address was opened by the client, although conntrack saw the reply first")
    func directServerReturn() {
        #expect(
            label(flow("198.51.100.50", "192.0.2.99", ports: (443, 40_000)), on: "node-a") == "198.51.100.50 remote 0")
        #expect(
            label(flow("192.0.2.99", "198.51.100.50", ports: (40_000, 443)), on: "node-a") == "198.51.100.50 remote 0")
    }
}
