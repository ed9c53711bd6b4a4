// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import TestSupport
import Testing

/// Node addresses that no Node object lists.
@Suite struct HostTests {
    private let test = IndexUnderTest(nodes: [
        Node(
            name: "node-a", addresses: [address("172.18.0.2")],
            podNetworks: [prefix("10.244.1.0/24"), prefix("fd00:244:1::/64")], zone: "a"),
        Node(name: "node-b", addresses: [address("172.18.0.3")], podNetworks: [prefix("10.244.2.0/24")], zone: "b"),
    ])

    private func node(at text: String, at seconds: UInt32 = 0, on node: String = "node-b") -> String? {
        guard let labels = test.labels(of: text, at: seconds, on: node), labels[.pod].isEmpty else { return nil }
        return labels[.node]
    }

    /// Returns the kind and the node of the end that opens a connection from an address to a pod of node-b.
    private func client(
        _ text: String, at seconds: UInt32 = 0, on node: String = "node-b"
    ) -> (kind: EndpointKind, node: String) {
        let flow = flow(text, text.contains(":") ? "fd00:244:2::10" : "10.244.2.10")
        return test.labeler.read(observedOn: node, at: noon + seconds) { reader in
            guard case .labeled(let labeled) = reader.label(flow) else { return (.unknown, "not labelled") }
            let end = labeled.local.address == flow.original.source ? labeled.local : labeled.remote
            return (end.kind, end.labels.labels[.node])
        }
    }

    private func listPods() {
        test.list(
            [
                pod("web", "10.244.2.10", "fd00:244:2::10", node: "node-b"),
                pod("client", "10.244.1.20", node: "node-a"),
            ], test.pods)
    }

    /// flannel.1, cni0, OVN's management port and the like: addresses in the block of the node's pods without a pod.
    @Test("an address in a node's pod network that no pod has belongs to the node")
    func anAddressInANodesBlockThatNoPodHasIsTheNodes() {
        listPods()
        for text in ["10.244.1.0", "10.244.1.1", "10.244.1.2", "10.244.1.255", "fd00:244:1::1"] {
            #expect(client(text) == (.node, "node-a"))
        }
        #expect(client("10.244.1.20") == (.pod, "node-a"))
        #expect(client("10.244.3.1").kind == .private)
        #expect(test.labels(of: "10.244.1.1", on: "node-b")?[.availabilityZone] == "a")
        // The block may move to another node.
        test.nodes.apply([
            .updated(Node(name: "node-c", addresses: [], podNetworks: [prefix("10.244.1.0/24")])),
            .deleted(Node(name: "node-a", addresses: [])),
        ])
        #expect(client("10.244.1.1") == (.node, "node-c"))
        test.nodes.apply([.deleted(Node(name: "node-c", addresses: []))])
        #expect(client("10.244.1.1").kind == .private)
    }

    @Test("of nested pod networks the smallest counts") func ofBlocksAroundEachOtherTheSmallestCounts() {
        test.nodes.apply([
            .updated(
                Node(name: "node-c", addresses: [], podNetworks: [prefix("10.0.0.0/8"), prefix("10.244.1.64/26")]))
        ])
        listPods()
        #expect(client("10.244.1.1") == (.node, "node-a"))
        #expect(client("10.244.1.65") == (.node, "node-c"))
        #expect(client("10.7.7.7") == (.node, "node-c"))
    }

    /// Owners of addresses are unknown before the first list: a pod that is gone by now may have had the address.
    @Test("before the first list, an unowned address in a pod network is not the node's")
    func whatWasObservedBeforeTheFirstListIsNotTakenForANodes() {
        test.setTime(1_800)
        listPods()
        #expect(client("10.244.1.1", at: 900).kind == .private)
        #expect(client("10.244.1.1", at: 1_800) == (.node, "node-a"))
    }

    /// While the API server is unreachable, new pods stay unknown.
    @Test("during a watch outage, an unowned address in a pod network is not the node's")
    func whatIsObservedWhileNothingIsHeardIsNotTakenForANodes() {
        listPods()
        #expect(client("10.244.1.1", at: 90) == (.node, "node-a"))
        #expect(client("10.244.1.1", at: 91).kind == .private)
        test.setTime(60)
        test.pods.apply([])
        #expect(client("10.244.1.1", at: 150) == (.node, "node-a"))
        #expect(client("10.244.1.1", at: 151).kind == .private)
    }

    @Test("an address that only one agent reports belongs to its node") func whatAnAgentTellsIsItsNodes() {
        listPods()
        test.index.setHostAddresses(["10.244.1.0", "192.168.77.1", "fd00:9::1"].map(address), ofNode: "node-a")
        for text in ["10.244.1.0", "192.168.77.1", "fd00:9::1"] { #expect(client(text) == (.node, "node-a")) }
        #expect(client("10.244.1.0", at: 500) == (.node, "node-a"))
        // An address that the agent does not report belongs to a pod that is not known yet.
        #expect(client("10.244.1.1").kind == .private)
        test.index.setHostAddresses([address("10.244.1.1")], ofNode: "node-a")
        #expect(client("10.244.1.1") == (.node, "node-a"))
        #expect(client("192.168.77.1").kind == .private)
        // A pod keeps its address, whatever an agent reports.
        test.index.setHostAddresses([address("10.244.2.10")], ofNode: "node-a")
        #expect(test.pod(at: "10.244.2.10", on: "node-b") == "web")
    }

    @Test("an address that several agents report belongs to each on its own node")
    func anAddressThatSeveralNodesHaveIsEachOnesOwn() {
        listPods()
        let bridge = address("172.17.0.1")
        test.index.setHostAddresses([bridge], ofNode: "node-a")
        #expect(client("172.17.0.1") == (.node, "node-a"))
        test.index.setHostAddresses([bridge, address("169.254.20.10"), address("203.0.113.9")], ofNode: "node-b")
        for text in ["172.17.0.1", "169.254.20.10", "203.0.113.9"] { #expect(client(text) == (.node, "node-b")) }
        #expect(node(at: "172.17.0.1", on: "node-a") == "node-a")
        // Link-local and public addresses count on their own node alone.
        for text in ["169.254.20.10", "203.0.113.9"] { #expect(client(text, on: "node-a").kind != .node) }
        test.nodes.apply([.updated(Node(name: "node-c", addresses: []))])
        #expect(client("172.17.0.1", on: "node-c").kind == .private)
        test.index.setHostAddresses([], ofNode: "node-a")
        #expect(client("172.17.0.1", on: "node-c") == (.node, "node-b"))
    }

    @Test("reported addresses apply once their node is known") func whatAnAgentTellsWaitsForItsNode() {
        test.index.setHostAddresses([address("192.168.77.1")], ofNode: "node-c")
        listPods()
        #expect(client("192.168.77.1").kind == .private)
        test.nodes.apply([.updated(Node(name: "node-c", addresses: [], zone: "c"))])
        #expect(client("192.168.77.1") == (.node, "node-c"))
        #expect(test.labels(of: "192.168.77.1", on: "node-b")?[.availabilityZone] == "c")
        // Only a limited number of reports from unknown nodes is kept.
        for number in 0..<2_000 {
            test.index.setHostAddresses([address("192.168.78.1")], ofNode: "nobody-\(number)")
        }
        #expect(client("192.168.78.1").kind == .private)
    }

    /// The address of a machine that is gone may be reused outside the cluster.
    @Test("reported addresses are removed and restored with their node")
    func whatAnAgentToldGoesWithItsNodeAndComesBackWithIt() {
        listPods()
        let object = Node(name: "node-c", addresses: [address("172.18.0.4")], zone: "c")
        test.nodes.apply([.updated(object)])
        let here = pod("here", "10.244.3.5", node: "node-c")
        test.pods.apply([.updated(here)])
        test.index.setHostAddresses([address("10.0.1.5"), address("172.17.0.1")], ofNode: "node-c")
        test.nodes.apply([.deleted(object)])
        #expect(client("10.0.1.5") == (.node, "node-c"))
        test.pods.apply([.deleted(here)])
        #expect(client("10.0.1.5").kind == .private)
        test.index.setHostAddresses([address("172.17.0.1")], ofNode: "node-a")
        #expect(client("172.17.0.1") == (.node, "node-a"))
        test.nodes.apply([.updated(object)])
        #expect(client("10.0.1.5") == (.node, "node-c"))
        #expect(client("172.17.0.1").kind == .private)
    }

    /// For public blocks, and for addresses that two nodes report, the block decides which node has them.
    @Test("an address reported by the node that owns its block belongs to that node")
    func whatTheOwnerOfABlockTellsOfItIsBelieved() {
        test.nodes.apply([
            .updated(Node(name: "node-c", addresses: [], podNetworks: [prefix("2600:1f14:1::/64")])),
            .updated(Node(name: "node-d", addresses: [])),
        ])
        listPods()
        test.index.setHostAddresses(["2600:1f14:1::1", "10.244.1.1"].map(address), ofNode: "node-c")
        test.index.setHostAddresses(["10.244.1.1"].map(address), ofNode: "node-a")
        #expect(client("2600:1f14:1::1") == (.node, "node-c"))
        #expect(client("2600:1f14:1::2").kind != .node)
        #expect(client("10.244.1.1") == (.node, "node-a"))
    }

    /// Compares bridge addresses reported by agents with sets of reports by node.
    @Test("owners of reported addresses agree with the set of reports", arguments: 0..<10)
    func itAgreesWithAllThatWasTold(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        listPods()
        let names = ["node-a", "node-b", "node-c", "node-d"]
        test.nodes.apply(names.suffix(2).map { .updated(Node(name: $0, addresses: [])) })
        var told: [String: Set<IPAddress>] = [:]
        for _ in 0..<200 {
            let name = names.randomElement(using: &random) ?? ""
            let addresses = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                address("192.168.9.\(Int.random(in: 1...8, using: &random))")
            }
            told[name] = Set(addresses)
            test.index.setHostAddresses(addresses, ofNode: name)
            for number in 1...8 {
                let text = "192.168.9.\(number)"
                let tellers = names.filter { told[$0]?.contains(address(text)) ?? false }
                let expected = tellers.contains("node-b") ? "node-b" : tellers.count == 1 ? tellers[0] : nil
                let found = client(text)
                #expect(found.kind == (expected == nil ? .private : .node))
                if let expected { #expect(found.node == expected) }
            }
        }
    }

    @Test("the addresses of a missing node are known from its pods") func podsTellTheAddressesOfANodeThatIsGone() {
        let proxy = Pod(
            namespace: "kube-system", name: "proxy", node: "node-z", addresses: [address("172.18.0.9")],
            hostAddresses: [address("172.18.0.9"), address("fc00::9")], hostNetwork: true)
        let web = Pod(
            namespace: "shop", name: "web", node: "node-y", addresses: [address("10.244.9.1")],
            hostAddresses: [address("172.18.0.8")])
        test.list([proxy, web], test.pods)
        for (text, name) in [("172.18.0.9", "node-z"), ("fc00::9", "node-z"), ("172.18.0.8", "node-y")] {
            #expect(node(at: text) == name)
        }
        #expect(test.index.statistics.nodes == 2)
        // The Node object takes precedence; when it is gone, the pods' report counts again.
        let object = Node(name: "node-z", addresses: [address("172.18.0.77")], zone: "z")
        test.nodes.apply([.updated(object)])
        test.setTime(200)
        #expect(node(at: "172.18.0.9", at: 200) == nil)
        #expect(node(at: "172.18.0.77", at: 200) == "node-z")
        test.nodes.apply([.deleted(object)])
        #expect(test.labels(of: "172.18.0.9", at: 200, on: "node-b")?[.availabilityZone] == "z")
        test.pods.apply([.deleted(proxy)])
        #expect(node(at: "172.18.0.9", at: 320) == "node-z")
        #expect(node(at: "172.18.0.9", at: 321) == nil)
        #expect(node(at: "172.18.0.8", at: 200) == "node-y")
        test.list([], test.pods)
        #expect(node(at: "172.18.0.8", at: 400) == nil)
    }

    /// A pod's author writes its annotations: they count only for private addresses without another owner.
    @Test("a pod owns its secondary addresses if they are private and without another owner")
    func aPodHasItsSecondaryAddresses() {
        let claiming = Pod(
            namespace: "shop", name: "claiming", node: "node-a", addresses: [address("10.244.1.30")],
            secondaryAddresses: [
                "192.168.100.7", "10.244.2.10", "172.18.0.3", "203.0.113.5", "240.0.0.1", "10.244.2.1", "10.244.2.77",
            ].map(address))
        let ended = pod("ended", "10.244.2.77", node: "node-b")
        test.list([claiming, pod("web", "10.244.2.10", node: "node-b"), ended], test.pods)
        test.pods.apply([.deleted(ended)])
        // They do not count for an address in a node's block, or for a pod's recent address.
        #expect(node(at: "10.244.2.1", on: "node-a") == "node-b")
        #expect(test.pod(at: "10.244.2.77", at: 60) == "ended")
        #expect(test.labels(of: "240.0.0.1") == nil)
        #expect(test.pod(at: "192.168.100.7") == "claiming")
        #expect(test.pod(at: "10.244.2.10", on: "node-a") == "web")
        #expect(node(at: "172.18.0.3", on: "node-a") == "node-b")
        #expect(test.labels(of: "203.0.113.5") == nil)
        test.pods.apply([.deleted(claiming)])
        test.setTime(300)
        #expect(test.pod(at: "192.168.100.7", at: 300) == nil)
    }
}
