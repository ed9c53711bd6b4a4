// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Foundation
import Labeling
import Testing

/// Compares labels with `situations.txt`: real situations, what conntrack shows of them, and the correct rows.
@Suite struct SituationTests {
    private static let file = SituationFile(contentsOf: SituationFile.url)
    /// The outcomes of the flows, by the numbers of their situations.
    private static let outcomes = file.situations.map { situation in
        let labeler = situation.world.labeler
        return situation.observations.map { RowOutcome(of: $0.flow, on: $0.node, by: labeler) }
    }

    @Test("situations.txt is well-formed")
    func isWellFormed() {
        #expect(Self.file.situations.count >= 60)
        for problem in Self.file.problems {
            Issue.record("situations.txt:\(problem.line): \(problem.text)", sourceLocation: location(problem.line))
        }
    }

    @Test("each row has the columns that situations.txt lists", arguments: file.observations)
    fileprivate
        func aRowHasItsColumns(_ observation: Situation.Observation)
    {
        let outcomes = Self.outcomes[observation.situation]
        let outcome = outcomes[observation.number]
        let bill = outcome.row?.bill ?? (outcomes.contains { $0.row != nil } ? "repeated" : "-")
        withKnownIssue("the code gives other columns", sourceLocation: location(observation.line)) {
            #expect(
                "\(outcome) \(bill)" == observation.expected, "situations.txt:\(observation.line)",
                sourceLocation: location(observation.line))
        } when: {
            observation.isKnownDifference
        }
    }

    @Test("the rows of a situation count each byte once", arguments: file.situations)
    fileprivate
        func everyByteIsCountedOnce(_ situation: Situation)
    {
        let rows = Self.outcomes[situation.number].compactMap(\.row)
        withKnownIssue("some bytes are in no row or in two", sourceLocation: location(situation.line)) {
            #expect(
                rows.flatMap(\.countedOnce).sorted() == (rows.isEmpty ? [] : [.original, .reply]),
                "situations.txt:\(situation.line)", sourceLocation: location(situation.line))
        } when: {
            situation.isKnownToMiscount
        }
    }

    @Test("every label that the labeler finds is filled in some row", arguments: Label.allCases)
    func everyLabelIsFilled(_ label: Label) {
        guard case .labeler = label.definition.source else { return }
        let texts = Self.file.situations.lazy.flatMap { situation in
            let labeler = situation.world.labeler
            return situation.observations.flatMap { observation in
                labeler.read(observedOn: observation.node, at: noon) { reader -> [String] in
                    guard case .labeled(let row) = reader.label(observation.flow) else { return [] }
                    return [row.local, row.remote].map { $0.labels.labels[label] }
                }
            }
        }
        #expect(texts.contains { !$0.isEmpty })
    }

    @Test(
        "a malformed line is reported by its number",
        arguments: [
            ("name  [nowhere]", 1), ("[s] https://example\nname", 2), ("    with cloud=aws", 1),
            ("[s] https://example\nname  [s]\n    with colour=red", 3),
            ("[s] https://example\nname  [s]\n    with ignore_udp=perhaps", 3),
            ("[s] https://example\nname  [s]\n    node-a tcp 10.0.0.1:1 > 10.0.0.2", 3),
            ("[s] https://example\nname  [s]\n    node-a ip 10.0.0.1:1 > 10.0.0.2:2", 3),
            ("[s] https://example\nname  [s]\n    node-a tcp 10.0.0.1:1 > 10.0.0.2:2\n", 3),
            ("[s] https://example\nname  [s]\n        -> ignored node -", 3),
            ("[s] https://example\nname  [s]\n    node-a tcp 10.0.0.1:1 > 10.0.0.2:2\n        -> ignored", 4),
            ("[s] https://example\nname  [s]\n    node-a tcp 10.0.0.1:1 > 10.0.0.2:2\n        -> a b c d e", 4),
            ("[s] https://example\nname  [s]\n", 2),
        ])
    func aMalformedLineIsToldByItsNumber(text: String, line: Int) {
        #expect(SituationFile(text: text).problems.map(\.line) == [line])
    }

    private func location(_ line: Int) -> SourceLocation {
        SourceLocation(
            fileID: "LabelingTests/situations.txt", filePath: SituationFile.url.path, line: line, column: 1)
    }
}

/// A connection, and the flows that the nodes on its way report.
private struct Situation: Sendable, CustomTestStringConvertible {
    /// A flow as one node reports it.
    struct Observation: Sendable, CustomTestStringConvertible {
        /// The number of the observation's situation.
        let situation: Int
        /// The observation's number in the situation.
        let number: Int
        let testDescription: String
        let line: Int
        let node: String
        let flow: Flow
        let isKnownDifference: Bool
        /// The expected columns, separated by single blanks.
        var expected = ""
    }

    /// A direction of the connection.
    enum Direction: Comparable, Sendable, CustomTestStringConvertible {
        /// From the client.
        case original
        /// To the client.
        case reply

        var testDescription: String { self == .original ? "original" : "reply" }
    }

    let number: Int
    let name: String
    let line: Int
    let isKnownToMiscount: Bool
    var world = World()
    var observations: [Observation] = []

    var testDescription: String { name }
}

// MARK: - Rows

/// The outcome of a flow, in the format of `situations.txt`.
private enum RowOutcome: CustomStringConvertible {
    case recorded(Row)
    case ignored(Labeler.IgnoredReason)

    init(of flow: Flow, on node: String, by labeler: Labeler) {
        self = labeler.read(observedOn: node, at: noon) { reader in
            switch reader.label(flow) {
            case .labeled(let labeled): .recorded(Row(labeled, of: flow))
            case .ignored(let reason): .ignored(reason)
            }
        }
    }

    /// Nil if the flow is not recorded.
    var row: Row? { if case .recorded(let row) = self { row } else { nil } }

    var description: String {
        switch self {
        case .recorded(let row): row.description
        case .ignored(let reason): "ignored \(reason.rawValue)"
        }
    }
}

/// The columns of a flow's rows that `situations.txt` checks.
private struct Row: CustomStringConvertible {
    /// The columns of one end.
    struct End {
        let kind: EndpointKind
        let cloud: String
        let region: String
        let cloudService: String
        let zone: String
        let node: String
        let pod: String

        init(_ end: LabeledEndpoint) {
            let labels = end.labels.labels
            kind = end.kind
            (cloud, region, cloudService) = (labels[.cloud], labels[.region], labels[.cloudService])
            (zone, node, pod) = (labels[.availabilityZone], labels[.node], labels[.pod])
        }

        /// Its place in the cluster; `outside` for an end behind its node.
        var inCluster: String {
            let name = kind == .node ? "node" : pod.isEmpty ? "outside" : pod
            return "\(name)@\(node)/\(zone)"
        }

        /// Its place in the cluster or in a cloud.
        var anywhere: String {
            if !node.isEmpty { return inCluster }
            var parts = [cloud, region, cloudService, zone]
            while parts.last?.isEmpty == true { parts.removeLast() }
            return parts.isEmpty ? "-" : parts.joined(separator: "/")
        }
    }

    let local: End
    let remote: End
    let connectionClass: ConnectionClass
    let service: String
    let isTranslated: Bool
    /// Whether the local end opened the connection.
    let isClientLocal: Bool

    init(_ labeled: LabeledFlow, of flow: Flow) {
        local = End(labeled.local)
        remote = End(labeled.remote)
        connectionClass = labeled.connectionClass
        service = labeled.service?.labels[.service] ?? ""
        isTranslated = labeled.flags.contains(.translated)
        isClientLocal = labeled.sent == flow.originalCounters
    }

    var description: String {
        let service = service.isEmpty ? "-" : service
        let flags = isTranslated ? "translated" : "-"
        return "\(local.inCluster) \(remote.anywhere) \(connectionClass.rawValue) \(service) \(flags)"
    }

    /// The directions of this row that a sum over all rows includes.
    var countedOnce: [Situation.Direction] {
        let sent: Situation.Direction = isClientLocal ? .original : .reply
        let received: Situation.Direction = isClientLocal ? .reply : .original
        if remote.node.isEmpty || remote.node == local.node { return [sent, received] }
        let isOnlyHere = local.pod.isEmpty || isTranslated
        if remote.pod.isEmpty { return isOnlyHere ? [sent] : [] }
        return isOnlyHere ? [sent, received] : [sent]
    }

    /// The row's items on a cloud's bill, as `deploy/clickhouse/queries/egress_cost.sql` computes them. For a visitor
    /// through another node's port, the items are the visitor's way and the way between the nodes.
    var bill: String {
        var kinds: [String] = []
        switch connectionClass {
        case .publicInternet: kinds.append("internet")
        case .interRegion: kinds.append("region")
        case .intraRegion, .intraVPC, .unknown: break
        }
        let hasZones = !local.zone.isEmpty && !remote.zone.isEmpty
        // Azure's price across zones is 0.
        if hasZones && local.zone != remote.zone && local.cloud != "azure" { kinds.append("zone") }
        return kinds.isEmpty ? "no" : kinds.joined(separator: "+")
    }
}

// MARK: - The cluster

/// The cluster of all situations, and the settings of a single situation.
private struct World: Sendable {
    var site = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")
    var configuration = Labeler.Configuration()

    private static let regions = ["aws": "eu-central-1", "gcp": "europe-west3", "azure": "westeurope"]

    /// Changes a setting; returns false if the key or the value is unknown.
    mutating func set(_ key: some StringProtocol, to value: some StringProtocol) -> Bool {
        if key == "cloud" {
            guard let region = Self.regions[String(value)] else { return false }
            (site.cloud, site.region) = (String(value), region)
            return true
        }
        guard let value = Bool(String(value)) else { return false }
        switch key {
        case "ignore_udp": configuration.ignoreUDP = value
        case "ignore_node_flows": configuration.ignoreNodeFlows = value
        default: return false
        }
        return true
    }

    var labeler: Labeler {
        let labeler = makeLabeler(Self.inventory, site: site, configuration: configuration)
        labeler.index.serviceStore().apply(Self.services.map { .updated($0) })
        for (node, addresses) in Self.hostAddresses {
            labeler.index.setHostAddresses(addresses.map(address), ofNode: node)
        }
        return labeler
    }

    private static let inventory = Inventory(
        nodes: [
            // Including the addresses from Calico's and Cilium's annotations.
            node(
                "node-a", ["172.18.0.2", "fc00::2", "10.245.1.0", "10.0.1.77"],
                pods: ["10.244.1.0/24", "fd00:244:1::/64"], zone: "a"),
            node(
                "node-b", ["172.18.0.3", "fc00::3", "10.245.2.0", "10.0.2.77"],
                pods: ["10.244.2.0/24", "fd00:244:2::/64"], zone: "b"),
            node("control", ["172.18.0.4"], zone: "a"),
            node("fargate-1", ["172.18.9.9"], zone: "b"),
            node("node-6", ["2001:db8:6::2"], zone: "a"),
        ],
        pods: [
            pod("shop/client-a", on: "node-a", ["10.244.1.20", "fd00:244:1::20"]),
            pod("shop/web-a", on: "node-a", ["10.244.1.10", "fd00:244:1::10"]),
            pod("shop/vpc-a", on: "node-a", ["172.18.1.20"]),
            pod("shop/client-b", on: "node-b", ["10.244.2.20"]),
            pod("shop/web-b", on: "node-b", ["10.244.2.10", "fd00:244:2::10"], secondary: ["192.168.100.7"]),
            pod("kube-system/dns-b", on: "node-b", ["10.244.2.53"]),
            pod("edge/vip-b", on: "node-b", ["10.244.2.60"], labels: ["app": "vip"]),
            pod("shop/vpc-b", on: "node-b", ["172.18.2.20"]),
            pod("edge/ingress", on: "node-b", ["172.18.0.3", "fc00::3"], isInHostNetwork: true),
            pod("shop/fargate", on: "fargate-1", ["172.18.9.9"]),
            pod("shop/six", on: "node-6", ["2001:db8:6:a::10"]),
        ],
        ranges: [
            range("198.51.100.0/25", "aws", "eu-central-1", service: "s3"),
            range("2001:db8:53::/48", "aws", "eu-central-1", service: "s3"),
            range("198.51.101.0/24", "aws", "eu-west-1", service: "s3"),
            range("198.51.102.0/24", "aws", "eu-central-1", service: "ec2"),
            range("198.51.104.0/24", "aws", "global", service: "cloudfront"),
            range("198.51.105.0/24", "aws", "cn-north-1"),
            range("203.0.113.128/25", "gcp", "europe-west3"),
            range("10.200.0.0/16", "aws", "eu-west-1"),
            range("10.201.0.0/16", "aws", "eu-central-1"),
            // A subnet of zone b.
            range("172.18.40.0/24", "aws", "eu-central-1", service: "rds", zone: "b"),
            range("10.99.0.0/16", "office", "berlin"),
        ])

    private static let services = [
        ClusterService(
            namespace: "default", name: "kubernetes", clusterAddresses: [address("10.96.0.1")],
            ports: [ClusterService.Port(transport: .tcp, number: 443)]),
        ClusterService(
            namespace: "kube-system", name: "kube-dns", clusterAddresses: [address("10.96.0.10")],
            ports: [
                ClusterService.Port(transport: .udp, number: 53), ClusterService.Port(transport: .tcp, number: 53),
            ]),
        ClusterService(
            namespace: "shop", name: "web", clusterAddresses: [address("10.96.0.80"), address("fd00:96::80")],
            externalAddresses: [address("198.51.102.50")],
            ports: [ClusterService.Port(transport: .tcp, number: 80, nodePort: 30_080)]),
        ClusterService(
            namespace: "shop", name: "api", clusterAddresses: [address("10.96.0.81")],
            externalAddresses: [address("192.168.240.1")],
            ports: [ClusterService.Port(transport: .tcp, number: 443)]),
        // Headless.
        ClusterService(
            namespace: "shop", name: "db", clusterAddresses: [],
            ports: [ClusterService.Port(transport: .tcp, number: 5432)]),
        ClusterService(
            namespace: "edge", name: "vip", clusterAddresses: [address("10.96.0.82")],
            externalAddresses: [address("198.51.102.60")],
            ports: [ClusterService.Port(transport: .tcp, number: 443)], selector: ["app": "vip"]),
    ]

    /// The addresses that agents report: the machine's own, flannel.1, cni0, ovn-k8s-mp0, NodeLocal DNSCache, Docker,
    /// and the addresses of GKE's metadata server on the loopback interface.
    private static let hostAddresses = [
        "node-a": [
            "172.18.0.2", "fc00::2", "10.244.1.0", "10.244.1.1", "10.244.1.2", "fd00:244:1::1", "169.254.20.10",
            "172.17.0.1", "169.254.169.252",
        ],
        "node-6": ["2001:db8:6::2", "172.18.0.6", "169.254.172.1"],
    ]

    private static func node(_ name: String, _ addresses: [String], pods: [String] = [], zone: String) -> Node {
        Node(name: name, addresses: addresses.map(address), podNetworks: pods.map(prefix), zone: zone)
    }

    private static func pod(
        _ name: String, on node: String, _ addresses: [String], secondary: [String] = [],
        isInHostNetwork: Bool = false, labels: [String: String] = [:]
    ) -> Pod {
        let parts = name.split(separator: "/").map(String.init)
        return Pod(
            namespace: parts[0], name: parts[1], node: node, addresses: addresses.map(address),
            secondaryAddresses: secondary.map(address), hostNetwork: isInHostNetwork,
            owner: ObjectOwner(kind: "StatefulSet", name: parts[1], uid: ObjectUID("set/\(name)")), labels: labels)
    }
}

// MARK: - The file

/// The contents of `situations.txt`, which documents its own format.
private struct SituationFile: Sendable {
    /// A line that cannot be read.
    struct Problem: Error {
        let line: Int
        let text: String
    }

    static let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "situations.txt")

    private(set) var situations: [Situation] = []
    private(set) var problems: [Problem] = []
    private var sources: Set<Substring> = []

    var observations: [Situation.Observation] { situations.flatMap(\.observations) }

    init(contentsOf url: URL) {
        let text = try? String(contentsOf: url, encoding: .utf8)
        self.init(text: text ?? "")
        if text == nil { problems = [Problem(line: 1, text: "the file cannot be read")] }
    }

    init(text: String) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            do throws(Problem) {
                try read(line, number: index + 1)
            } catch {
                problems.append(error)
            }
        }
        guard problems.isEmpty else { return }
        for situation in situations {
            if situation.observations.isEmpty {
                problems.append(Problem(line: situation.line, text: "no node reports anything"))
            }
            for observation in situation.observations where observation.expected.isEmpty {
                problems.append(Problem(line: observation.line, text: "no '->' line follows"))
            }
        }
    }

    private mutating func read(_ line: Substring, number: Int) throws(Problem) {
        let words = line.split(separator: " ")
        guard let first = words.first, !first.hasPrefix("#"), first != "==" else { return }
        if !line.hasPrefix(" ") {
            if line.hasPrefix("[") {
                guard words.count == 2, words[1].hasPrefix("https://") else {
                    throw Problem(line: number, text: "not '[SOURCE] https://…'")
                }
                sources.insert(words[0])
            } else {
                try readName(words, number)
            }
            return
        }
        guard let current = situations.indices.last else {
            throw Problem(line: number, text: "no situation has begun")
        }
        switch first {
        case "with":
            for word in words.dropFirst() {
                let parts = word.split(separator: "=")
                guard parts.count == 2, situations[current].world.set(parts[0], to: parts[1]) else {
                    throw Problem(line: number, text: "'\(word)' is not a setting")
                }
            }
        case "->":
            let isIgnored = words.dropFirst().first == "ignored"
            guard words.count == (isIgnored ? 4 : 7) else {
                throw Problem(line: number, text: "not as many columns as expected")
            }
            guard let last = situations[current].observations.indices.last,
                situations[current].observations[last].expected.isEmpty
            else { throw Problem(line: number, text: "no node's flow stands before it") }
            situations[current].observations[last].expected = words.dropFirst().joined(separator: " ")
        default:
            let isKnown = first == "!"
            let words = isKnown ? Array(words.dropFirst()) : words
            guard let flow = Self.flow(words.dropFirst()) else {
                throw Problem(line: number, text: "not 'NODE PROTOCOL CLIENT:PORT > DIALLED:PORT = … > …'")
            }
            situations[current].observations.append(
                Situation.Observation(
                    situation: current, number: situations[current].observations.count,
                    testDescription: "\(situations[current].name), on \(words[0])", line: number,
                    node: String(words[0]), flow: flow, isKnownDifference: isKnown))
        }
    }

    private mutating func readName(_ words: [Substring], _ number: Int) throws(Problem) {
        let named = words.filter { $0.hasPrefix("[") }
        guard !named.isEmpty, named.allSatisfy(sources.contains) else {
            throw Problem(line: number, text: "no source, or one that is not listed")
        }
        let isKnown = words[0] == "!"
        let name = words.dropFirst(isKnown ? 1 : 0).filter { !$0.hasPrefix("[") }.joined(separator: " ")
        situations.append(
            Situation(number: situations.count, name: name, line: number, isKnownToMiscount: isKnown))
    }

    /// Reads `PROTOCOL CLIENT:PORT > DIALLED:PORT = ANSWERING:PORT > REPLIES_TO`.
    private static func flow(_ words: ArraySlice<Substring>) -> Flow? {
        var words = words
        func next(after sign: Substring) -> Substring? {
            guard words.first == sign, words.count >= 2 else { return nil }
            defer { words.removeFirst(2) }
            return words[words.startIndex + 1]
        }
        guard let transport = words.popFirst().flatMap({ TransportProtocol.byName[String($0)] }),
            let client = words.popFirst().flatMap(end), let dialled = next(after: ">").flatMap(end)
        else { return nil }
        var answering = dialled
        if let text = next(after: "=") {
            guard let read = end(text) else { return nil }
            answering = read
        }
        var repliesTo = client
        if let text = next(after: ">") {
            guard let read = IPAddress(text) else { return nil }
            repliesTo = (read, 61_000)
        }
        guard words.isEmpty else { return nil }
        return Flow(
            transport: transport,
            original: FlowTuple(
                source: client.address, destination: dialled.address, sourcePort: client.port,
                destinationPort: dialled.port),
            reply: FlowTuple(
                source: answering.address, destination: repliesTo.address, sourcePort: answering.port,
                destinationPort: repliesTo.port),
            originalCounters: FlowCounters(packets: 1, bytes: 100),
            replyCounters: FlowCounters(packets: 2, bytes: 200))
    }

    /// Reads `192.0.2.1:443` or `[2001:db8::1]:443`.
    private static func end(_ text: Substring) -> (address: IPAddress, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return IPAddress(host).map { ($0, port) }
    }
}
