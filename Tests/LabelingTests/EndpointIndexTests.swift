// SPDX-License-Identifier: Apache-2.0

import Kubernetes
import Testing

@testable import Labeling

private let site = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")

@Suite struct EndpointIndexTests {
    private let index = EndpointIndex(
        Inventory(
            nodes: [
                Node(name: "node-a", addresses: [address("172.18.0.2"), address("fc00::2")], zone: "a"),
                Node(name: "node-b", addresses: []),
            ],
            pods: [
                Pod(
                    namespace: "shop", name: "web", node: "node-b",
                    addresses: [address("10.0.0.1"), address("fd00::1")]),
                Pod(
                    namespace: "shop", name: "proxy", node: "node-a", addresses: [address("172.18.0.2")],
                    hostNetwork: true),
                Pod(namespace: "shop", name: "stray", node: "node-z", addresses: [address("10.0.0.2")]),
            ]), site: site)

    @Test func everyAddressLeadsToItsEndpoint() throws {
        for text in ["10.0.0.1", "fd00::1"] {
            let pod = try #require(index.endpoint(at: address(text)))
            #expect(pod.labels.pod == "web" && pod.labels.availabilityZone == "")
            #expect(pod.nodeID == index.nodeID(named: "node-b") && !pod.isNode)
        }
        for text in ["172.18.0.2", "fc00::2"] {
            let node = try #require(index.endpoint(at: address(text)))
            #expect(node.labels.pod == "" && node.labels.node == "node-a" && node.labels.availabilityZone == "a")
            #expect(node.nodeID == index.nodeID(named: "node-a") && node.isNode)
        }
    }

    @Test func whatIsNotThereIsNotFound() {
        #expect(index.endpoint(at: address("10.0.0.3")) == nil)
        // A pod of a node that nobody knows.
        #expect(index.endpoint(at: address("10.0.0.2")) == nil)
        #expect(index.nodeID(named: "node-z") == nil)
        #expect(index.nodeID(named: "node-a") != index.nodeID(named: "node-b"))
    }
}
