// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import TestSupport
import Testing

private let site = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")

@Suite struct ExplanationTests {
    private let labeler: Labeler

    init() {
        let rules = [ConnectionFlagRule(name: "nat", prefixes: [prefix("198.51.100.0/28")])]
        let index = ClusterIndex(site: site, flagRules: rules) { noon }
        index.add(
            Inventory(
                nodes: [
                    Node(name: "node-a", addresses: [address("172.18.0.2")], zone: "eu-central-1a"),
                    Node(name: "node-b", addresses: [address("172.18.0.3")]),
                ],
                pods: [
                    Pod(namespace: "shop", name: "client-1", node: "node-a", addresses: [address("10.244.1.20")]),
                    Pod(namespace: "shop", name: "web-1", node: "node-b", addresses: [address("10.244.2.10")]),
                ]))
        let services = index.serviceStore()
        services.apply([
            .updated(ClusterService(namespace: "shop", name: "web", clusterAddresses: [address("10.96.0.80")]))
        ])
        let pods = index.podStore()
        let finished = Pod(namespace: "batch", name: "job", node: "node-b", addresses: [address("10.244.2.10")])
        pods.apply([.updated(finished)])
        pods.apply([.deleted(finished)])
        labeler = Labeler(
            index: index,
            configuration: Labeler.Configuration(privateNetworks: [prefix("100.64.0.0/10")], flagRules: rules))
        labeler.setRanges([
            CloudRange(prefix: prefix("198.51.100.0/24"), place: CloudPlace(cloud: "aws", region: "us-east-1"))
        ])
    }

    private func explain(
        _ source: String, _ destination: String, answeredBy: String? = nil, on node: String = "node-a"
    ) -> [String] {
        var flow = flow(source, destination, ports: (40_000, 443))
        if let answeredBy { flow.reply.source = address(answeredBy) }
        return labeler.explain(flow, observedOn: node, at: noon + 30).lines.map { "\($0.topic): \($0.text)" }
    }

    @Test("a flow through a service is explained line by line") func aFlowThroughAServiceIsTold() {
        #expect(
            explain("10.244.1.20", "10.96.0.80", answeredBy: "10.244.2.10") == [
                "flow: tcp 10.244.1.20:40000 to 10.96.0.80:443, answered by 10.244.2.10:443, observed on node-a",
                "source: 10.244.1.20 is pod shop/client-1 on node-a",
                "destination: 10.244.2.10 is pod shop/web-1 on node-b",
                ": rather than pod batch/job on node-b, which ended 30 s before",
                "local: the source: it runs on node-a",
                "opened: by the local end",
                "service: shop/web",
                "class: INTRA_VPC",
                "local row: cloud=aws region=eu-central-1 cluster=main availabilityZone=eu-central-1a node=node-a "
                    + "namespace=shop pod=client-1",
                "remote row: cloud=aws region=eu-central-1 cluster=main node=node-b namespace=shop pod=web-1",
            ])
    }

    @Test("the explanation names the deciding range") func theRangeThatDecidesIsNamed() {
        let lines = explain("10.244.1.20", "198.51.100.7")
        #expect(
            lines.contains(
                "destination: 198.51.100.7 is no pod or node; public, in range 198.51.100.0/24: aws us-east-1"))
        #expect(lines.contains("class: INTER_REGION"))
        #expect(lines.contains("flags: nat"))
        #expect(
            explain("10.244.1.20", "100.64.3.3").contains(
                "destination: 100.64.3.3 is no pod or node; private by 100.64.0.0/10: the own cloud and region"))
        #expect(
            explain("10.244.1.20", "224.0.0.1").contains(
                "destination: 224.0.0.1 is no pod or node; reserved by 224.0.0.0/4: no host has it"))
        #expect(
            explain("10.244.1.20", "192.0.2.1").contains(
                "destination: 192.0.2.1 is no pod or node; public, in no known range"))
    }

    /// Compares the explanation of an address with its row, for addresses in and around all deciding blocks.
    @Test(
        "the explanation of an address agrees with its row",
        arguments: ["aws", "azure", "gcp"],
        [
            [], ["100.64.0.0/10"], ["10.0.0.0/8"], ["224.0.0.0/4"], ["127.0.0.0/8", "198.51.100.0/25"],
            ["64:ff9b::/96"],
            ["168.63.129.16/32", "fc00::/7"],
        ])
    func whatIsSaidIsWhatTheRowHas(cloud: String, privateNetworks: [String]) {
        var random = SeededGenerator(seed: 7)
        let here = Site(environment: "test", cloud: cloud, region: "eu-central-1", cluster: "main")
        let labeler = Labeler(
            index: ClusterIndex(site: here) { noon },
            configuration: Labeler.Configuration(
                ignoreUnknownDirection: false, privateNetworks: privateNetworks.map(prefix)))
        labeler.setRanges(
            ["198.51.100.0/24", "10.1.0.0/16", "100.64.0.0/16", "224.1.0.0/16", "35.191.0.0/16"].map {
                CloudRange(prefix: prefix($0), place: CloudPlace(cloud: "aws", region: "us-east-1"))
            })
        let edges = [
            "0.0.0.0", "10.0.0.0", "10.1.0.0", "100.64.0.0", "100.65.0.0", "127.0.0.0", "168.63.129.16", "192.0.0.0",
            "192.168.0.0", "198.18.0.0", "198.51.100.0", "198.51.100.128", "199.36.153.8", "224.0.0.0", "224.1.0.0",
            "35.191.0.0", "64:ff9b::10.0.0.1", "64:ff9b::198.51.100.1", "64:ff9b:1::", "fc00::", "fe80::", "ff00::",
            "2600:2d00:2:2000::",
        ].map(address)
        for edge in edges {
            for _ in 0..<20 {
                let remote = IPAddress(bits: edge.bits &+ UInt128(Int.random(in: 0...3, using: &random)) &- 1)
                let tuple = FlowTuple(
                    source: address("192.0.2.1"), destination: remote, sourcePort: 1, destinationPort: 2)
                let flow = Flow(
                    transport: .tcp, original: tuple, reply: tuple.mirrored,
                    originalCounters: FlowCounters(packets: 1, bytes: 1), replyCounters: FlowCounters())
                let lines = labeler.explain(flow, observedOn: "", at: noon).lines
                let said = lines.first { $0.topic == "destination" }?.text ?? ""
                let row = lines.first { $0.topic == "remote row" }?.text ?? ""
                let isOwn = said.hasSuffix("the own cloud and region")
                #expect(isOwn == (row == "cloud=\(cloud) region=eu-central-1 cluster=UNKNOWN"), "\(said): \(row)")
                #expect(said.contains("in range") == (row.contains("cloud=") && !isOwn), "\(said): \(row)")
            }
        }
    }

    @Test(
        "a protocol is named as in the column proto, or told by its number",
        arguments: [(6, "tcp"), (132, "sctp"), (47, "gre"), (1, "icmp"), (4, "protocol 4")])
    func protocols(number: UInt8, text: String) {
        var flow = flow("10.244.1.20", "192.0.2.1", ports: (40_000, 443))
        flow.transport = TransportProtocol(rawValue: number)
        let lines = labeler.explain(flow, observedOn: "node-a", at: noon).lines
        #expect(lines.first?.text.hasPrefix("\(text) 10.244.1.20:40000 to 192.0.2.1:443,") == true)
    }

    @Test("the explanation asks for the responding address behind a service")
    func whoAnswersBehindAServiceIsAskedFor() {
        #expect(
            explain("10.244.1.20", "10.96.0.80").contains(
                ": it is the address of service shop/web: a flow names the backend behind it"))
    }

    @Test("the explanation names the reason why an address belongs to a node") func whyAnAddressIsANodesIsTold() {
        labeler.index.setHostAddresses([address("10.244.1.1")], ofNode: "node-a")
        #expect(
            explain("10.244.1.20", "10.244.1.1").contains(
                "destination: 10.244.1.1 is node node-a: its agent reports the address"))
        labeler.index.nodeStore().apply([
            .updated(Node(name: "node-c", addresses: [], podNetworks: [prefix("10.244.3.0/24")]))
        ])
        labeler.index.podStore().apply([
            .updated(
                Pod(
                    namespace: "shop", name: "claiming", node: "node-b", addresses: [address("10.244.2.30")],
                    secondaryAddresses: [address("192.168.9.9"), address("192.0.2.7")]))
        ])
        let annotation = "by an annotation, which counts for private addresses"
        #expect(
            explain("10.244.1.20", "192.168.9.9").contains(
                "destination: 192.168.9.9 is pod shop/claiming on node-b \(annotation)"))
        #expect(explain("10.244.1.20", "192.0.2.7").contains(": rather than pod shop/claiming on node-b \(annotation)"))
    }

    @Test("the explanation names the reason why a flow is ignored") func whyAFlowIsIgnoredIsTold() {
        #expect(
            explain("10.244.1.20", "172.18.0.3").last == "ignored: one end is a node, and ignore_node_flows is true")
        #expect(
            explain("192.0.2.1", "192.0.2.2", on: "node-z").contains("node: node-z is unknown, and so are its pods"))
        #expect(explain("192.0.2.1", "192.0.2.2").last?.hasPrefix("ignored: neither end is a pod") == true)
        #expect(
            explain("192.0.2.1", "172.18.0.2", answeredBy: "10.244.2.10").contains(
                "local: the source: only the other end is known, on another node"))
    }

    @Test("the local end's reason is the rule that the labeler applied")
    func localEndRules() {
        labeler.index.podStore().apply([
            .updated(
                Pod(
                    namespace: "edge", name: "ingress-1", node: "node-a", addresses: [address("10.244.1.30")],
                    labels: ["app": "ingress"])),
            .updated(Pod(namespace: "shop", name: "web-2", node: "node-c", addresses: [address("10.244.3.10")])),
        ])
        labeler.index.serviceStore().apply([
            .updated(
                ClusterService(
                    namespace: "edge", name: "ingress", clusterAddresses: [],
                    externalAddresses: [address("203.0.113.50")], ports: [.init(transport: .tcp, number: 443)],
                    selector: ["app": "ingress"]))
        ])
        #expect(local("10.244.2.10", "10.244.1.20") == ["local: the destination: it runs on node-a"])
        #expect(
            local("10.244.2.10", "192.0.2.1", ignoring: false)
                == ["local: the destination: only the other end is known, on another node"])
        #expect(
            local("10.244.2.10", "192.0.2.5", answeredBy: "10.244.3.10", repliesTo: "172.18.0.2")
                == ["local: the source: both are on other nodes, and this one has replaced their addresses"])
        // This node replaced one address only, which decides nothing.
        #expect(
            local("10.244.2.10", "10.244.3.10", repliesTo: "172.18.0.2", ignoring: false)
                == ["local: the source: no rule decides, so the source is used"])
        // The pod is on this node, but is found only through the service.
        #expect(
            local("192.0.2.1", "203.0.113.50") == [
                "local: the destination: it is a service's address, from which pods of node-a may send",
                ": pod edge/ingress-1 is the only one of node-a behind the service of this address",
            ])
        #expect(
            local("192.0.2.1", "203.0.113.50", on: "node-b")
                == ["local: the destination: it is a service's address, from which pods of node-b may send"])
        #expect(local("192.168.3.3", "192.0.2.1") == ["local: the source: it is assumed to be behind node-a"])
    }

    /// Returns the lines on a flow's local end.
    private func local(
        _ source: String, _ destination: String, answeredBy: String? = nil, repliesTo: String? = nil,
        on node: String = "node-a", ignoring: Bool = true
    ) -> [String] {
        labeler.apply(
            Labeler.Configuration(
                ignoreNodeFlows: false, ignoreUnknownDirection: ignoring, ignoreTransit: ignoring))
        var flow = flow(source, destination, ports: (40_000, 443))
        if let answeredBy { flow.reply.source = address(answeredBy) }
        if let repliesTo { flow.reply.destination = address(repliesTo) }
        let lines = labeler.explain(flow, observedOn: node, at: noon + 30).lines
        return lines.drop { $0.topic != "local" }.prefix { $0.topic == "local" || $0.topic.isEmpty }
            .map { "\($0.topic): \($0.text)" }
    }

    @Test("the explanation states the row's local end, class and labels, or why there is no row")
    func agreement() {
        var random = SeededGenerator(seed: 14)
        labeler.index.setHostAddresses([address("172.17.0.1")], ofNode: "node-b")
        let addresses = [
            "10.244.1.20", "10.244.2.10", "10.96.0.80", "172.17.0.1", "172.18.0.2", "172.18.0.3", "192.0.2.1",
            "192.168.3.3", "198.51.100.7", "224.0.0.1", "64:ff9b::10.0.0.1",
        ].map(address)
        func pick() -> IPAddress { addresses[Int.random(in: 0..<addresses.count, using: &random)] }
        for _ in 0..<3_000 {
            labeler.apply(
                Labeler.Configuration(
                    ignoreUDP: .random(using: &random), ignoreNodeFlows: .random(using: &random),
                    ignoreUnknownDirection: .random(using: &random), ignoreTransit: .random(using: &random)))
            let tuple = FlowTuple(source: pick(), destination: pick(), sourcePort: 40_000, destinationPort: 443)
            var flow = Flow(
                transport: .random(using: &random) ? .tcp : .udp, original: tuple, reply: tuple.mirrored,
                originalCounters: FlowCounters(), replyCounters: FlowCounters())
            if .random(using: &random) { flow.reply.source = pick() }
            if .random(using: &random) { flow.reply.destination = pick() }
            let node = ["node-a", "node-b", "node-z"][Int.random(in: 0..<3, using: &random)]
            let lines = labeler.explain(flow, observedOn: node, at: noon).lines
            let told = Dictionary(lines.map { ($0.topic, $0.text) }) { first, _ in first }
            labeler.read(observedOn: node, at: noon) { reader in
                switch reader.label(flow) {
                case .ignored: #expect(told["ignored"] != nil && told["local"] == nil && told["class"] == nil)
                case .labeled(let row):
                    let end = row.local.port == flow.original.sourcePort ? "the source: " : "the destination: "
                    #expect(told["local"]?.hasPrefix(end) == true && told["ignored"] == nil)
                    #expect(told["class"] == row.connectionClass.rawValue)
                    let pods = [row.local, row.remote].map { $0.labels.labels[.pod] }
                    #expect(told["local row"]?.contains("pod=\(pods[0])") == !pods[0].isEmpty)
                    #expect(told["remote row"]?.contains("pod=\(pods[1])") == !pods[1].isEmpty)
                }
            }
        }
    }

    @Test("the range that is named is the one whose place the row has")
    func nestedRanges() {
        // The smaller block reaches into 198.18.0.0/15, which is reserved, and so does not count for private addresses.
        labeler.apply(Labeler.Configuration(privateNetworks: [prefix("198.0.0.0/8")]))
        labeler.setRanges(
            [("198.16.0.0/14", "inner"), ("198.0.0.0/8", "outer")].map {
                CloudRange(prefix: prefix($0.0), place: CloudPlace(cloud: "aws", region: $0.1))
            })
        let lines = explain("10.244.1.20", "198.16.0.1")
        #expect(
            lines.contains(
                "destination: 198.16.0.1 is no pod or node; private by 198.0.0.0/8, in range 198.0.0.0/8: aws outer"))
        #expect(lines.last == "remote row: cloud=aws region=outer cluster=UNKNOWN")
    }
}
