// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import InventoryFile
import Labeling
import Testing

/// Parses an address in a test.
func address(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { preconditionFailure("'\(text)' is not an address") }
    return address
}

/// Parses a block of addresses in a test.
func prefix(_ text: String) -> IPPrefix {
    guard let prefix = IPPrefix(text) else { preconditionFailure("'\(text)' is not a block of addresses") }
    return prefix
}

/// Makes a range of a cloud's addresses.
func range(
    _ block: String, _ cloud: String, _ region: String = "", service: String = "", zone: String = ""
) -> CloudRange {
    CloudRange(
        prefix: prefix(block),
        place: CloudPlace(cloud: cloud, region: region, availabilityZone: zone, service: service))
}

/// The time at which the tests' flows are observed, in seconds since the Unix epoch.
let noon: UInt32 = 1_772_366_400

/// Makes a labeler from an inventory.
func makeLabeler(
    _ inventory: Inventory, site: Site, configuration: Labeler.Configuration = Labeler.Configuration()
) -> Labeler {
    let index = ClusterIndex(site: site, flagRules: configuration.flagRules) { noon }
    index.add(inventory)
    let labeler = Labeler(index: index, configuration: configuration)
    labeler.setRanges(inventory.ranges)
    return labeler
}

private let site = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")

private let inventory = Inventory(
    nodes: [
        Node(name: "node-a", addresses: [address("172.18.0.2"), address("fc00::2")], zone: "eu-central-1a"),
        Node(name: "node-b", addresses: [address("172.18.0.3")], zone: "eu-central-1b"),
        Node(name: "node-c", addresses: [address("172.18.0.4")]),
    ],
    pods: [
        Pod(
            namespace: "shop", name: "client-1", node: "node-a",
            addresses: [address("10.244.1.20"), address("fd00:244:1::20")],
            columnLabels: [.app: "client", .instanceID: "blue", .cell: "cell-1"]),
        Pod(namespace: "shop", name: "web-1", node: "node-a", addresses: [address("10.244.1.10")]),
        Pod(
            namespace: "shop", name: "web-2", node: "node-b",
            addresses: [address("10.244.2.10"), address("fd00:244:2::10")]),
        Pod(
            namespace: "kube-system", name: "proxy", node: "node-b", addresses: [address("172.18.0.3")],
            hostNetwork: true),
        Pod(namespace: "edge", name: "public-1", node: "node-a", addresses: [address("3.120.0.9")]),
        Pod(namespace: "edge", name: "shared-1", node: "node-a", addresses: [address("100.64.7.1")]),
        Pod(namespace: "edge", name: "unplaced", node: "", addresses: [address("10.244.9.9")]),
    ],
    ranges: [
        range("198.51.100.0/24", "aws", "eu-central-1", service: "s3"),
        range("198.51.101.0/24", "aws", "eu-west-1"),
        range("198.51.102.0/24", "aws", "global"),
        range("198.51.103.0/24", "aws"),
        range("203.0.113.0/24", "gcp", "eu-central-1"),
        range("2001:db8:1::/48", "aws", "eu-west-1"),
        // Multicast, which belongs to no cloud, and blocks around addresses of the cluster: private addresses and
        // public-1's.
        range("224.0.0.0/4", "gcp"),
        range("10.0.0.0/8", "gcp"),
        range("3.120.0.0/14", "aws", "eu-west-1"),
    ])

/// A flow with 100 bytes sent and 200 bytes received by the client, the observing node, and the expected outcome.
private struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let transport: TransportProtocol
    let original: FlowTuple
    let reply: FlowTuple
    let node: String
    let configuration: Labeler.Configuration
    let expected: String

    /// From port 40000 to port 443. `answeredBy` is the destination behind a translation, `to` the address that replies
    /// go to.
    init(
        _ description: String, _ source: String, _ destination: String, transport: TransportProtocol = .tcp,
        answeredBy peer: (address: String, port: UInt16)? = nil, to replyDestination: String? = nil, on node: String,
        with configuration: Labeler.Configuration = Labeler.Configuration(), _ expected: String
    ) {
        testDescription = description
        self.transport = transport
        original = FlowTuple(
            source: address(source), destination: address(destination), sourcePort: 40_000, destinationPort: 443)
        reply = FlowTuple(
            source: address(peer?.address ?? destination), destination: address(replyDestination ?? source),
            sourcePort: peer?.port ?? 443, destinationPort: replyDestination == nil ? 40_000 : 61_000)
        self.node = node
        self.configuration = configuration
        self.expected = expected
    }

    /// `local:port remote:port CLASS sent/received`, or the reason why the flow is not recorded.
    var outcome: String {
        let labeler = makeLabeler(inventory, site: site, configuration: configuration)
        let flow = Flow(
            transport: transport, original: original, reply: reply,
            originalCounters: FlowCounters(packets: 1, bytes: 100),
            replyCounters: FlowCounters(packets: 2, bytes: 200))
        return labeler.read(observedOn: node, at: noon) { reader in
            switch reader.label(flow) {
            case .ignored(let reason): return reason.rawValue
            case .labeled(let labeled):
                return "\(name(labeled.local)) \(name(labeled.remote)) \(labeled.connectionClass.rawValue) "
                    + "\(labeled.sent.bytes)/\(labeled.received.bytes)"
            }
        }
    }

    /// The pod or node, else cloud/region/service, else the address.
    private func name(_ end: LabeledEndpoint) -> String {
        let labels = end.labels.labels
        let range = [labels[.cloud], labels[.region], labels[.cloudService]].filter { !$0.isEmpty }.joined(
            separator: "/")
        let name = [labels[.pod], labels[.node], range].first { !$0.isEmpty } ?? "[\(end.address)]"
        return "\(name):\(end.port)"
    }
}

/// Makes an untranslated flow from port 1 to port 2.
func flow(_ source: String, _ destination: String, ports: (UInt16, UInt16) = (1, 2)) -> Flow {
    let tuple = FlowTuple(
        source: address(source), destination: address(destination), sourcePort: ports.0, destinationPort: ports.1)
    return Flow(
        transport: .tcp, original: tuple, reply: tuple.mirrored, originalCounters: FlowCounters(packets: 1, bytes: 1),
        replyCounters: FlowCounters())
}

private let everything = Labeler.Configuration(ignoreUDP: false, ignoreNodeFlows: false)
private let outside = "192.0.2.99"

@Suite struct LabelerTests {
    @Test(arguments: [
        Case("both here", "10.244.1.20", "10.244.1.10", on: "node-a", "client-1:40000 web-1:443 INTRA_VPC 100/200"),
        Case(
            "the source here, the destination elsewhere", "10.244.1.20", "10.244.2.10", on: "node-a",
            "client-1:40000 web-2:443 INTRA_VPC 100/200"),
        Case(
            "the source elsewhere, the destination here", "10.244.1.20", "10.244.2.10", on: "node-b",
            "web-2:443 client-1:40000 INTRA_VPC 200/100"),
        Case(
            "only the source known, here", "10.244.1.20", outside, on: "node-a",
            "client-1:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        Case(
            "only the destination known, here", outside, "10.244.1.10", on: "node-a",
            "web-1:443 [192.0.2.99]:40000 PUBLIC_INTERNET 200/100"),
        Case("only the source known, elsewhere: it passes through", "10.244.1.20", outside, on: "node-b", "transit"),
        Case(
            "only the source known, elsewhere, recorded", "10.244.1.20", outside, on: "node-b",
            with: Labeler.Configuration(ignoreTransit: false),
            "node-b:443 client-1:40000 PUBLIC_INTERNET 200/100"),
        Case(
            "an egress gateway, which translates the source", "10.244.1.20", outside, to: "172.18.0.3", on: "node-b",
            "transit"),
        Case(
            "only the source known, elsewhere, and a private address", "10.244.1.20", "192.168.122.7", on: "node-b",
            "transit"),
        Case(
            "only the source known, elsewhere, and a machine behind a port of this node", "10.244.1.20", "172.18.0.3",
            answeredBy: ("192.168.122.7", 443), on: "node-b", "node-b:443 client-1:40000 INTRA_VPC 200/100"),
        Case(
            "only the source known, elsewhere, and a named private network", "10.244.1.20", "10.1.2.3", on: "node-b",
            "transit"),
        Case(
            "only the source known, the node unknown", "10.244.1.20", outside, on: "node-z",
            "aws/eu-central-1:443 client-1:40000 PUBLIC_INTERNET 200/100"),
        Case(
            "only the destination known, elsewhere", outside, "10.244.2.10", on: "node-a",
            "node-a:40000 web-2:443 PUBLIC_INTERNET 100/200"),
        Case(
            "both elsewhere, through a port of this node", "10.244.1.20", "172.18.0.4",
            answeredBy: ("10.244.2.10", 8080), to: "172.18.0.4", on: "node-c",
            "client-1:40000 web-2:8080 INTRA_VPC 100/200"),
        Case("both elsewhere", "10.244.1.20", "10.244.1.10", on: "node-b", "unknown_direction"),
        Case("neither known", "192.0.2.1", outside, on: "node-a", "unknown_direction"),
        Case(
            "neither known, the source private: behind this node", "169.254.172.7", outside, to: "172.18.0.2",
            on: "node-a", "node-a:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        Case(
            "neither known, both private", "172.17.0.2", "192.168.7.7", on: "node-a",
            "node-a:40000 aws/eu-central-1:443 INTRA_VPC 100/200"),
        Case("neither known, the source in a named network", "10.1.2.3", outside, on: "node-a", "unknown_direction"),
        Case("neither known, the node to itself", "127.0.0.1", "127.0.0.1", on: "node-a", "unknown_direction"),
        Case("neither known, the node unknown", "172.17.0.2", outside, on: "node-z", "unknown_direction"),
        Case("both known, the node unknown", "10.244.1.20", "10.244.1.10", on: "node-z", "unknown_direction"),
        Case(
            "a pod on no node, the other end unknown", "10.244.9.9", outside, on: "node-a", "unknown_direction"),
        Case(
            "a pod on no node, the other end here", "10.244.9.9", "10.244.1.10", on: "node-a",
            "web-1:443 unplaced:40000 INTRA_VPC 200/100"),
        Case(
            "a pod on no node, the other end elsewhere", "10.244.1.10", "10.244.9.9", on: "node-b", "transit"),
        Case(
            "one known, the node unknown", outside, "10.244.1.10", on: "node-z",
            "aws/eu-central-1:40000 web-1:443 PUBLIC_INTERNET 100/200"),
    ])
    fileprivate func theLocalSideIsThatOfTheObservingNode(_ flow: Case) {
        #expect(flow.outcome == flow.expected)
    }

    @Test(arguments: [
        Case("UDP ignored", "10.244.1.20", outside, transport: .udp, on: "node-a", "udp"),
        Case(
            "UDP recorded", "10.244.1.20", outside, transport: .udp, on: "node-a", with: everything,
            "client-1:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        Case(
            "another protocol", "10.244.1.20", outside, transport: TransportProtocol(rawValue: 132), on: "node-a",
            "client-1:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        Case("from a node", "172.18.0.2", "10.244.1.10", on: "node-a", "node"),
        Case("to a node", "10.244.1.20", "172.18.0.3", on: "node-a", "node"),
        Case("from a node to the Internet", "172.18.0.2", outside, on: "node-a", "node"),
        Case("to a node's IPv6 address", "fd00:244:1::20", "fc00::2", on: "node-a", "node"),
        Case(
            "from a node, recorded", "172.18.0.2", "10.244.2.10", on: "node-a", with: everything,
            "node-a:40000 web-2:443 INTRA_VPC 100/200"),
        Case(
            "to a pod in the host network, recorded", "10.244.1.20", "172.18.0.3", on: "node-a", with: everything,
            "client-1:40000 node-b:443 INTRA_VPC 100/200"),
        Case(
            "UDP of a node, both ignored", "172.18.0.2", outside, transport: .udp, on: "node-a", "udp"),
    ])
    fileprivate func udpAndNodesAreIgnoredUnlessAskedFor(_ flow: Case) {
        #expect(flow.outcome == flow.expected)
    }

    @Test(arguments: [
        Case(
            "a service's address", "10.244.1.20", "10.96.0.80", answeredBy: ("10.244.2.10", 8080), on: "node-a",
            "client-1:40000 web-2:8080 INTRA_VPC 100/200"),
        Case(
            "a service's address, seen where the pod is", "10.244.1.20", "10.96.0.80",
            answeredBy: ("10.244.2.10", 8080), on: "node-b", "web-2:8080 client-1:40000 INTRA_VPC 200/100"),
        Case(
            "a service's address that leads outside", "10.244.1.20", "10.96.0.80", answeredBy: ("203.0.113.7", 6443),
            on: "node-a", "client-1:40000 gcp/eu-central-1:6443 PUBLIC_INTERNET 100/200"),
        Case(
            "a service's address that leads to a node", "10.244.1.20", "10.96.0.1",
            answeredBy: ("172.18.0.3", 6443), on: "node-a", "node"),
        Case(
            "masqueraded: replies go to the node", "10.244.1.20", outside, to: "172.18.0.2", on: "node-a",
            "client-1:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        Case(
            "a node's port from the Internet, the pod on another node", outside, "172.18.0.2",
            answeredBy: ("10.244.2.10", 8080), to: "172.18.0.2", on: "node-a",
            "node-a:40000 web-2:8080 PUBLIC_INTERNET 100/200"),
        Case(
            "a node's port from the own network, the pod on another node", "192.168.7.7", "172.18.0.2",
            answeredBy: ("10.244.2.10", 8080), to: "172.18.0.2", on: "node-a",
            "node-a:40000 web-2:8080 INTRA_VPC 100/200"),
        Case(
            "a node's port from another region, the pod on another node", "198.51.101.7", "172.18.0.2",
            answeredBy: ("10.244.2.10", 8080), to: "172.18.0.2", on: "node-a",
            "node-a:40000 web-2:8080 INTER_REGION 100/200"),
        Case(
            "a node's port from the Internet, the pod here", outside, "172.18.0.2",
            answeredBy: ("10.244.1.10", 8080), on: "node-a", "web-1:8080 [192.0.2.99]:40000 PUBLIC_INTERNET 200/100"),
    ])
    fileprivate func theDestinationIsWhoAnswers(_ flow: Case) {
        #expect(flow.outcome == flow.expected)
    }

    @Test(arguments: [
        ("192.168.7.7", "aws/eu-central-1:443 INTRA_VPC"),
        // A private address in a configured range is never on the Internet.
        ("10.1.2.3", "gcp:443 UNKNOWN"),
        ("169.254.169.254", "aws/eu-central-1:443 INTRA_VPC"),
        ("fe80::1", "aws/eu-central-1:443 INTRA_VPC"),
        ("fd00:1::1", "aws/eu-central-1:443 INTRA_VPC"),
        ("198.51.100.1", "aws/eu-central-1/s3:443 INTRA_REGION"),
        ("198.51.101.1", "aws/eu-west-1:443 INTER_REGION"),
        ("198.51.102.1", "aws/global:443 INTRA_REGION"),
        ("198.51.103.1", "aws:443 UNKNOWN"),
        ("203.0.113.1", "gcp/eu-central-1:443 PUBLIC_INTERNET"),
        ("2001:db8:1::1", "aws/eu-west-1:443 INTER_REGION"),
        ("2001:db8:2::1", "[2001:db8:2::1]:443 PUBLIC_INTERNET"),
        ("192.0.2.99", "[192.0.2.99]:443 PUBLIC_INTERNET"),
        ("100.64.1.1", "aws/eu-central-1:443 INTRA_VPC"),
        // A NAT64 address has the labels of the IPv4 address behind it.
        ("64:ff9b::198.51.100.1", "aws/eu-central-1/s3:443 INTRA_REGION"),
        ("64:ff9b::192.168.7.7", "aws/eu-central-1:443 INTRA_VPC"),
        ("64:ff9b::192.0.2.99", "[64:ff9b::c000:263]:443 PUBLIC_INTERNET"),
        ("64:ff9b::224.0.0.251", "[64:ff9b::e000:fb]:443 UNKNOWN"),
        ("64:ff9b:1::1", "aws/eu-central-1:443 INTRA_VPC"),
        // In no provider's list.
        ("199.36.153.9", "gcp/global/privategoogleaccess:443 PUBLIC_INTERNET"),
        ("168.63.129.16", "[168.63.129.16]:443 PUBLIC_INTERNET"),
        // Reserved addresses belong to no cloud, even if a range contains them.
        ("224.0.0.251", "[224.0.0.251]:443 UNKNOWN"),
        ("239.255.255.255", "[239.255.255.255]:443 UNKNOWN"),
        ("240.0.0.1", "[240.0.0.1]:443 UNKNOWN"),
        ("198.18.0.1", "[198.18.0.1]:443 UNKNOWN"),
        ("100::1", "[100::1]:443 UNKNOWN"),
        ("255.255.255.255", "[255.255.255.255]:443 UNKNOWN"),
        ("0.0.0.0", "[0.0.0.0]:443 UNKNOWN"),
        ("ff02::fb", "[ff02::fb]:443 UNKNOWN"),
        ("::", "[::]:443 UNKNOWN"),
        // Pods' addresses are ours, whatever block they are in.
        ("3.120.0.9", "public-1:443 INTRA_VPC"),
        ("100.64.7.1", "shared-1:443 INTRA_VPC"),
        // The same range, without a pod.
        ("3.120.0.10", "aws/eu-west-1:443 INTER_REGION"),
    ])
    func theClassIsThatOfTheRemoteAddress(remote: String, expected: String) {
        let source = remote.contains(":") ? "fd00:244:1::20" : "10.244.1.20"
        let flow = Case(remote, source, remote, on: "node-a", "client-1:40000 \(expected) 100/200")
        #expect(flow.outcome == flow.expected)
        // The same if the remote address opened the connection.
        let back = Case(
            remote, remote, source, on: "node-a",
            "client-1:443 \(expected.replacing(":443", with: ":40000")) 200/100")
        #expect(back.outcome == (remote.hasPrefix("3.120.0.9") || remote == "100.64.7.1" ? flip(back) : back.expected))
    }

    /// Returns the outcome if both ends are here: the source is local.
    private func flip(_ flow: Case) -> String {
        let remote = flow.expected.split(separator: " ")[1]
        return "\(remote) client-1:443 INTRA_VPC 100/200"
    }

    @Test("a private address in a range of the own cloud has that range's class")
    func aRangeOfTheOwnCloudInAPrivateNetworkHasAClass() {
        let labeler = makeLabeler(inventory, site: site)
        labeler.setRanges([
            CloudRange(prefix: prefix("10.200.0.0/16"), place: CloudPlace(cloud: "aws", region: "eu-west-1"))
        ])
        for (remote, expected) in [("10.200.1.1", ConnectionClass.interRegion), ("10.201.1.1", .intraVPC)] {
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow("10.244.1.20", remote)) else {
                    Issue.record("the flow is not labelled")
                    return
                }
                #expect(labeled.connectionClass == expected)
            }
        }
    }

    /// Addresses that providers document but do not list, and regions that only the Internet connects.
    @Test(arguments: [
        ("gcp", "europe-west3", "199.36.153.8", "gcp global privategoogleaccess INTRA_REGION"),
        ("gcp", "europe-west3", "199.36.153.7", "gcp global restrictedgoogleaccess INTRA_REGION"),
        ("gcp", "europe-west3", "2600:2d00:2:2000::1", "gcp global privategoogleaccess INTRA_REGION"),
        ("gcp", "europe-west3", "35.191.7.7", "gcp global loadbalancing INTRA_REGION"),
        ("gcp", "europe-west3", "130.211.3.255", "gcp global loadbalancing INTRA_REGION"),
        ("azure", "westeurope", "168.63.129.16", "azure westeurope INTRA_VPC"),
        ("azure", "westeurope", "168.63.129.17", "PUBLIC_INTERNET"),
        ("aws", "eu-central-1", "198.18.100.1", "UNKNOWN"),
        ("aws", "eu-central-1", "203.0.113.1", "aws cn-north-1 PUBLIC_INTERNET"),
        ("aws", "eu-central-1", "203.0.113.65", "aws us-gov-west-1 PUBLIC_INTERNET"),
        ("aws", "cn-northwest-1", "203.0.113.1", "aws cn-north-1 INTER_REGION"),
        ("aws", "cn-north-1", "203.0.113.1", "aws cn-north-1 INTRA_REGION"),
        ("aws", "cn-north-1", "203.0.113.129", "aws global PUBLIC_INTERNET"),
        ("aws", "us-gov-east-1", "203.0.113.65", "aws us-gov-west-1 INTER_REGION"),
        ("aws", "us-gov-east-1", "203.0.113.193", "aws UNKNOWN"),
        ("aws", "eu-central-1", "100.100.1.1", "aws us-east-1 INTER_REGION"),
        ("aws", "eu-central-1", "100.101.1.1", "gcp europe-west1 PUBLIC_INTERNET"),
        ("aws", "eu-central-1", "100.102.1.1", "aws eu-central-1 INTRA_VPC"),
    ])
    func placesThatNoListHasAreKnown(cloud: String, region: String, remote: String, expected: String) {
        let pod = Pod(
            namespace: "shop", name: "web", node: "node-a", addresses: [address("10.0.0.1"), address("fd00::1")])
        let labeler = makeLabeler(
            Inventory(nodes: [], pods: [pod]),
            site: Site(environment: "test", cloud: cloud, region: region, cluster: "main"))
        labeler.setRanges(
            [
                ("203.0.113.0/26", "aws", "cn-north-1"), ("203.0.113.64/26", "aws", "us-gov-west-1"),
                ("203.0.113.128/26", "aws", "global"), ("203.0.113.192/26", "aws", ""),
                ("100.100.0.0/16", "aws", "us-east-1"), ("100.101.0.0/16", "gcp", "europe-west1"),
            ].map { CloudRange(prefix: prefix($0.0), place: CloudPlace(cloud: $0.1, region: $0.2)) })
        labeler.read(observedOn: "node-a", at: noon) { reader in
            let outgoing = flow(remote.contains(":") ? "fd00::1" : "10.0.0.1", remote)
            guard case .labeled(let labeled) = reader.label(outgoing) else {
                Issue.record("the flow is not labelled")
                return
            }
            let labels = labeled.remote.labels.labels
            let words = [
                labels[.cloud], labels[.region], labels[.cloudService], labeled.connectionClass.rawValue,
            ]
            #expect(words.filter { !$0.isEmpty }.joined(separator: " ") == expected)
        }
    }

    @Test("configured private networks count as private") func furtherNetworksCanBePrivate() {
        let configuration = Labeler.Configuration(privateNetworks: [
            prefix("100.64.0.0/10"), prefix("198.51.101.128/25"),
        ])
        for (remote, expected) in [
            ("100.64.1.1", "aws/eu-central-1:443 INTRA_VPC"), ("198.51.101.200", "aws/eu-central-1:443 INTRA_VPC"),
            ("198.51.101.1", "aws/eu-west-1:443 INTER_REGION"), ("100.128.0.1", "[100.128.0.1]:443 PUBLIC_INTERNET"),
            ("100.63.255.255", "[100.63.255.255]:443 PUBLIC_INTERNET"),
        ] {
            let flow = Case(
                remote, "10.244.1.20", remote, on: "node-a", with: configuration, "client-1:40000 \(expected) 100/200")
            #expect(flow.outcome == flow.expected)
        }
    }

    @Test("private networks can be replaced at run time") func theNetworksThatArePrivateCanBeReplaced() {
        let labeler = makeLabeler(inventory, site: site)
        func classes() -> [ConnectionClass?] {
            ["198.51.101.1", "198.51.101.200", "192.0.2.1"].map { remote in
                labeler.read(observedOn: "node-a", at: noon) { reader in
                    guard case .labeled(let labeled) = reader.label(flow("10.244.1.20", remote)) else { return nil }
                    return labeled.connectionClass
                }
            }
        }
        #expect(classes() == [.interRegion, .interRegion, .publicInternet])
        labeler.apply(
            Labeler.Configuration(privateNetworks: [prefix("192.0.2.0/24"), prefix("198.51.101.128/25")]))
        #expect(classes() == [.interRegion, .intraVPC, .intraVPC])
        // A range within a network that has become private, and ranges that are set later.
        let elsewhere = CloudRange(
            prefix: prefix("192.0.2.0/28"), place: CloudPlace(cloud: "aws", region: "eu-west-1"))
        labeler.setRanges([elsewhere])
        #expect(classes() == [.publicInternet, .intraVPC, .interRegion])
        labeler.apply(Labeler.Configuration())
        #expect(classes() == [.publicInternet, .publicInternet, .interRegion])
    }

    @Test("each end has all of its labels") func anEndCarriesAllOfItsLabels() throws {
        let labeler = makeLabeler(inventory, site: site, configuration: everything)
        func labels(_ source: String, _ destination: String) throws -> (local: EndpointLabels, remote: EndpointLabels) {
            try labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow(source, destination)) else { throw Unlabeled() }
                return (labeled.local.labels.labels, labeled.remote.labels.labels)
            }
        }
        struct Unlabeled: Error {}

        let pod = try labels("10.244.1.20", "198.51.100.1")
        #expect(
            texts(pod.local) == [
                .cloud: "aws", .region: "eu-central-1", .cluster: "main", .cell: "cell-1",
                .availabilityZone: "eu-central-1a", .node: "node-a", .instanceID: "blue", .namespace: "shop",
                .pod: "client-1", .app: "client",
            ])
        #expect(
            texts(pod.remote)
                == [.cloud: "aws", .region: "eu-central-1", .cluster: "UNKNOWN", .cloudService: "s3"])
        let node = try labels("10.244.1.20", "172.18.0.3")
        #expect(
            texts(node.remote)
                == [
                    .cloud: "aws", .region: "eu-central-1", .cluster: "main", .availabilityZone: "eu-central-1b",
                    .node: "node-b",
                ])
        #expect(
            texts(try labels("10.244.1.20", "192.168.1.1").remote)
                == [.cloud: "aws", .region: "eu-central-1", .cluster: "UNKNOWN"])
        #expect(texts(try labels("10.244.1.20", outside).remote) == [.cluster: "UNKNOWN"])
        // One object for all flows of an endpoint: rows refer to it by its identity.
        #expect(try labels("10.244.1.20", outside).local === pod.local)
    }

    /// Returns the texts that are not empty.
    private func texts(_ labels: EndpointLabels) -> [Label: String] {
        Dictionary(uniqueKeysWithValues: Label.allCases.map { ($0, labels[$0]) }).filter { !$1.isEmpty }
    }

    @Test("a range's cloud and region are compared without case")
    func theRegionOfARangeIsComparedWithoutCase() throws {
        let labeler = makeLabeler(
            try Inventory(
                text: """
                    nodes: [{name: node-a, addresses: [172.18.0.2]}]
                    pods: [{namespace: shop, name: client-1, node: node-a, addresses: [10.244.1.20]}]
                    ranges: [{name: s3, cidrs: [198.51.100.0/24], cloud: AWS, region: EU-Central-1}]
                    """, file: "inventory.yaml"),
            site: site)
        labeler.read(observedOn: "", at: noon) { reader in
            guard case .labeled(let labeled) = reader.label(flow("10.244.1.20", "198.51.100.1")) else {
                Issue.record("the flow is not labelled")
                return
            }
            #expect(labeled.connectionClass == .intraRegion)
        }
    }

    @Test("ranges are replaced atomically") func rangesAreReplacedAtOnce() {
        let labeler = makeLabeler(inventory, site: site)
        func connectionClass() -> ConnectionClass? {
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow("10.244.1.20", "198.51.100.1")) else { return nil }
                return labeled.connectionClass
            }
        }
        #expect(connectionClass() == .intraRegion)
        labeler.setRanges([])
        #expect(connectionClass() == .publicInternet)
        labeler.setRanges([
            CloudRange(prefix: prefix("198.51.0.0/16"), place: CloudPlace(cloud: "aws", region: "eu-west-1"))
        ])
        #expect(connectionClass() == .interRegion)
    }

    @Test("a service is named if its address was dialled") func aServiceIsNamedWhereItsAddressWasDialled() {
        let labeler = makeLabeler(inventory, site: site)
        let store = labeler.index.serviceStore()
        store.beginReplacement()
        store.add(ClusterService(namespace: "shop", name: "web", clusterAddresses: [address("10.96.0.80")]))
        store.commitReplacement()
        func service(of flow: Flow) -> String? {
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow) else { return nil }
                return labeled.service?.labels[.service]
            }
        }
        var dialled = flow("10.244.1.20", "10.96.0.80")
        dialled.reply.source = address("10.244.2.10")
        #expect(service(of: dialled) == "shop/web")
        #expect(service(of: flow("10.244.1.20", "10.244.2.10")) == nil)
        store.apply([
            .deleted(ClusterService(namespace: "shop", name: "web", clusterAddresses: [address("10.96.0.80")]))
        ])
        dialled.original.destination = address("10.96.0.81")
        #expect(service(of: dialled) == nil)
    }

    /// Services may share a load balancer's address; a node port belongs to one service.
    @Test("a service is named by each of its addresses and ports") func aServiceIsNamedByEveryAddressThatIsDialled() {
        let labeler = makeLabeler(inventory, site: site)
        let ingress = ClusterService(
            namespace: "edge", name: "ingress", clusterAddresses: [address("10.96.0.80")],
            externalAddresses: [address("192.0.2.50"), address("172.18.0.2")],
            ports: [ClusterService.Port(transport: .tcp, number: 443, nodePort: 30_443)])
        let dns = ClusterService(
            namespace: "edge", name: "dns", clusterAddresses: [], externalAddresses: [address("192.0.2.50")],
            ports: [
                ClusterService.Port(transport: .udp, number: 443, nodePort: 30_443),
                ClusterService.Port(transport: .tcp, number: 53),
            ])
        let store = labeler.index.serviceStore()
        store.apply([.updated(ingress), .updated(dns)])
        func service(at destination: String, _ port: UInt16, _ transport: TransportProtocol = .tcp) -> String? {
            var dialled = flow("198.51.100.9", destination, ports: (40_000, port))
            dialled.transport = transport
            dialled.reply.source = address("10.244.1.10")
            dialled.reply.sourcePort = 8443
            return labeler.read(
                observedOn: "node-a", at: noon,
                by: Labeler(index: labeler.index, configuration: Labeler.Configuration(ignoreUDP: false)).rules
            ) { reader in
                guard case .labeled(let labeled) = reader.label(dialled) else { return "not labelled" }
                return labeled.service?.labels[.service]
            }
        }
        #expect(service(at: "10.96.0.80", 443) == "edge/ingress")
        #expect(service(at: "192.0.2.50", 443) == "edge/ingress")
        #expect(service(at: "192.0.2.50", 443, .udp) == "edge/dns")
        #expect(service(at: "192.0.2.50", 53) == "edge/dns")
        #expect(service(at: "192.0.2.50", 80) == nil)
        // A load balancer that uses nodes' addresses, and node ports.
        #expect(service(at: "172.18.0.2", 443) == "edge/ingress")
        #expect(service(at: "172.18.0.3", 30_443) == "edge/ingress")
        #expect(service(at: "172.18.0.3", 30_443, .udp) == "edge/dns")
        #expect(service(at: "172.18.0.3", 443) == nil)
        #expect(service(at: "192.0.2.51", 30_443) == nil)
        store.apply([.deleted(ingress)])
        #expect(service(at: "192.0.2.50", 53) == "edge/dns")
    }

    /// Direct server return: a pod answers from the load balancer's address.
    @Test("a flow answered from a load balancer's address is answered on the observing node")
    func whatStaysAtALoadBalancersAddressIsAnsweredHere() {
        let labeler = makeLabeler(inventory, site: site)
        labeler.index.serviceStore().apply([
            .updated(
                ClusterService(
                    namespace: "edge", name: "ingress", clusterAddresses: [],
                    externalAddresses: [address("198.51.100.50"), address("192.168.240.1")],
                    ports: [ClusterService.Port(transport: .tcp, number: 443)]))
        ])
        for (source, destination) in [
            (outside, "198.51.100.50"), ("192.168.7.7", "192.168.240.1"), ("10.244.2.10", "198.51.100.50"),
        ] {
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow(source, destination, ports: (40_000, 443))) else {
                    Issue.record("the flow is not labelled")
                    return
                }
                #expect(labeled.local.address == address(destination))
                #expect(labeled.local.labels.labels[.node] == "node-a")
                #expect(labeled.local.labels.labels[.pod] == "")
                #expect(labeled.service?.labels[.service] == "edge/ingress")
            }
        }
    }

    /// The service's selector identifies the pod if it selects a single pod of the node.
    @Test("the pod that answers from a load balancer's address is found by the service's selector")
    func thePodThatAnswersFromALoadBalancersAddressIsFound() {
        let index = ClusterIndex(site: site) { noon }
        let labeler = Labeler(index: index, configuration: Labeler.Configuration())
        func ingress(_ name: String, on node: String, labels: [String: String]) -> Pod {
            Pod(
                namespace: "edge", name: name, node: node, addresses: [address("10.244.7.\(name.count)")],
                labels: labels)
        }
        let here = ingress("a", on: "node-a", labels: ["app": "ingress", "tier": "edge", "x": "1"])
        let second = ingress("ab", on: "node-a", labels: ["app": "ingress", "tier": "edge"])
        let pods = index.podStore()
        pods.apply([
            .updated(here), .updated(ingress("abc", on: "node-b", labels: ["app": "ingress", "tier": "edge"])),
            .updated(ingress("abcd", on: "node-a", labels: ["app": "ingress"])),
            .updated(
                Pod(
                    namespace: "shop", name: "other", node: "node-a", addresses: [address("10.244.8.1")],
                    labels: here.labels)),
        ])
        var service = ClusterService(
            namespace: "edge", name: "ingress", clusterAddresses: [], externalAddresses: [address("198.51.100.50")],
            ports: [ClusterService.Port(transport: .tcp, number: 443)], selector: ["app": "ingress", "tier": "edge"])
        let services = index.serviceStore()
        services.apply([.updated(service)])
        func local(on node: String = "node-a") -> String {
            labeler.read(observedOn: node, at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(flow(outside, "198.51.100.50", ports: (1, 443))) else {
                    return "not labelled"
                }
                return "\(labeled.local.labels.labels[.pod]) \(labeled.connectionClass.rawValue)"
            }
        }
        #expect(local() == "a PUBLIC_INTERNET")
        #expect(local(on: "node-b") == "abc PUBLIC_INTERNET")
        // With two pods the answering pod is unknown.
        pods.apply([.updated(second)])
        #expect(local() == " PUBLIC_INTERNET")
        pods.apply([.deleted(here)])
        #expect(local() == "ab PUBLIC_INTERNET")
        service.selector = ["app": "ingress", "x": "2"]
        services.apply([.updated(service)])
        #expect(local() == " PUBLIC_INTERNET")
        pods.apply([.updated(ingress("abcde", on: "node-a", labels: ["app": "ingress", "x": "2"]))])
        #expect(local() == "abcde PUBLIC_INTERNET")
        // The service that had the address is still known, but not its pods.
        services.apply([.deleted(service)])
        #expect(local() == " PUBLIC_INTERNET")
    }

    @Test("a local end outside the cluster has the observing node's labels")
    func aLocalEndThatIsOutsideHasTheLabelsOfTheObservingNode() {
        let labeler = makeLabeler(inventory, site: site)
        for (source, destination, peer) in [
            ("198.51.101.7", "172.18.0.2", "10.244.2.10"), (outside, "172.18.0.2", "10.244.2.10"),
            ("172.17.0.2", outside, outside),
        ] {
            var visit = flow(source, destination)
            visit.reply.source = address(peer)
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(visit) else {
                    Issue.record("the flow is not labelled")
                    return
                }
                let local = labeled.local.labels.labels
                #expect(labeled.local.address == address(source))
                #expect(
                    [.cloud, .region, .cluster, .node, .availabilityZone, .pod, .namespace].map { local[$0] }
                        == ["aws", "eu-central-1", "main", "node-a", "eu-central-1a", "", ""])
            }
        }
    }

    @Test("a translated source sets the flag translated") func aTranslatedSourceSetsAFlag() {
        let labeler = makeLabeler(inventory, site: site)
        for (replyDestination, expected) in [("10.244.1.20", false), ("172.18.0.2", true)] {
            var masqueraded = flow("10.244.1.20", outside)
            masqueraded.reply.destination = address(replyDestination)
            masqueraded.reply.destinationPort = 61_000
            labeler.read(observedOn: "node-a", at: noon) { reader in
                guard case .labeled(let labeled) = reader.label(masqueraded) else {
                    Issue.record("the flow is not labelled")
                    return
                }
                #expect(labeled.flags.contains(.translated) == expected)
            }
        }
        #expect(labeler.rules.flagNames == ["translated"])
    }

    @Test("flows of unknown direction are recorded with ignore_unknown_direction false")
    func flowsOfUnknownDirectionAreRecordedWhereAskedFor() {
        let configuration = Labeler.Configuration(ignoreUnknownDirection: false)
        for flow in [
            Case(
                "both elsewhere", "10.244.1.20", "10.244.1.10", on: "node-b", with: configuration,
                "client-1:40000 web-1:443 INTRA_VPC 100/200"),
            Case(
                "neither known", "192.0.2.1", outside, on: "node-a", with: configuration,
                "node-a:40000 [192.0.2.99]:443 PUBLIC_INTERNET 100/200"),
        ] {
            #expect(flow.outcome == flow.expected)
        }
    }

    @Test("the reasons for ignoring a flow have the names shown in metrics")
    func reasonsHaveTheNamesThatMetricsShow() {
        #expect(Labeler.IgnoredReason.allCases.map(\.rawValue) == ["udp", "node", "unknown_direction", "transit"])
    }
}
