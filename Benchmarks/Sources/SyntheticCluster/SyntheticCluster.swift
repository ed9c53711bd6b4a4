// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import FlowModel

/// A synthetic cluster of any size with names and addresses like those of real clusters. It is the same in every run.
public struct SyntheticCluster: Sendable {
    /// The number of objects of each kind.
    public let podCount, nodeCount, serviceCount, replicaSetCount: Int

    /// The time at which the cluster began, in seconds since the Unix epoch.
    public static let beginning: UInt32 = 1_760_000_000

    /// Makes a cluster with 50 pods per node, 5 per ReplicaSet and 20 per service.
    public init(podCount: Int) {
        self.podCount = podCount
        nodeCount = max(1, podCount / 50)
        serviceCount = max(1, podCount / 20)
        replicaSetCount = max(1, podCount / 5)
    }

    /// The nodes, in three zones.
    public var nodes: [Node] {
        (0..<nodeCount).map { number in
            Node(
                uid: Self.uid(of: .node, number), name: Self.node(number),
                addresses: [IPAddress(v4: 0xac10_0000 + UInt32(number) + 10)],
                podNetworks: IPPrefix(containing: Self.podAddress(number, 0), length: 24).map { [$0] } ?? [],
                zone: "eu-central-1\(["a", "b", "c"][number % 3])", createdAt: Self.beginning)
        }
    }

    /// Returns the host addresses that a node's agent reports: those of a tunnel, of two bridges, one of which has the
    /// same address on every node, and of three more interfaces.
    public func hostAddresses(ofNode number: Int) -> [IPAddress] {
        [Self.podAddress(number, 0), Self.podAddress(number, 1), IPAddress(v4: 0xac11_0001)]
            + (0..<3).map { IPAddress(v4: 0xc0a8_0000 + UInt32(number * 3 + $0)) }
    }

    /// Returns the address of a service's load balancer, which is dialled at port 443; nil if it has none.
    public func externalAddress(ofService number: Int) -> IPAddress? {
        number % 10 == 0 ? IPAddress(v4: 0xac30_0000 + UInt32(number)) : nil
    }

    private static func podAddress(_ node: Int, _ place: Int) -> IPAddress {
        IPAddress(v4: 0x0a00_0000 + UInt32(node) << 8 + UInt32(place))
    }

    /// The services, each with an address; one in ten has a load balancer and a node port.
    public var services: [ClusterService] {
        (0..<serviceCount).map { number in
            let external = externalAddress(ofService: number)
            let nodePort = external == nil ? 0 : UInt16(30_000 + number / 10 % 2_768)
            return ClusterService(
                uid: Self.uid(of: .service, number), namespace: Self.namespace(number),
                name: "\(Self.application(number))-service",
                clusterAddresses: [IPAddress(v4: 0xac20_0000 + UInt32(number) + 10)],
                externalAddresses: external.map { [$0] } ?? [],
                ports: [ClusterService.Port(transport: .tcp, number: 443, nodePort: nodePort)],
                selector: ["app.kubernetes.io/name": Self.application(number)])
        }
    }

    /// The ReplicaSets, each of a Deployment.
    public var replicaSets: [ReplicaSet] {
        (0..<replicaSetCount).map { number in
            ReplicaSet(
                uid: Self.uid(of: .replicaSet, number),
                owner: ObjectOwner(
                    kind: "Deployment", name: Self.application(number), uid: Self.uid(of: .deployment, number)))
        }
    }

    /// The pods.
    public var pods: [Pod] { (0..<podCount).map { pod($0) } }

    /// Returns a pod. Every generation is a pod of its own with an address of its own (of 200 in turn), which replaces
    /// the previous generation.
    public func pod(_ number: Int, generation: Int = 0) -> Pod {
        let replicaSet = number % replicaSetCount
        let application = Self.application(replicaSet)
        let name = "\(application)-\(Self.letters(replicaSet, 9))-\(Self.letters(number + generation * podCount, 5))"
        let node = number % nodeCount
        let place = (number / nodeCount + generation * 50) % 200
        return Pod(
            uid: Self.uid(of: .pod, number + generation * podCount), namespace: Self.namespace(replicaSet), name: name,
            node: Self.node(node),
            addresses: [Self.podAddress(node, place + 2)],
            startedAt: Self.beginning + UInt32(generation), columnLabels: [.app: application],
            owner: ObjectOwner(
                kind: "ReplicaSet", name: "\(application)-\(Self.letters(replicaSet, 9))",
                uid: Self.uid(of: .replicaSet, replicaSet)))
    }

    /// Returns the bytes of a pod's fields that are not read: 1,500 to 3,500, which makes objects of 2 to 4 KB.
    public static func padding(_ number: Int) -> Int { 1_500 + number % 5 * 500 }

    private enum Kind: UInt64 {
        case pod, node, service, replicaSet, deployment
    }

    /// Returns a UUID in the form of a random one (RFC 9562, section 5.4), different for every number.
    private static func uid(of kind: Kind, _ number: Int) -> ObjectUID {
        var high = (kind.rawValue << 56 | UInt64(number)) &* 0x9e37_79b9_7f4a_7c15
        var low = high &* 0xbf58_476d_1ce4_e5b9
        high = high & ~0xf000 | 0x4000
        low = low & ~(3 << 62) | 2 << 62
        let digits = [high, low].map { half in
            let text = String(half, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
        var text = digits
        for offset in [20, 16, 12, 8] { text.insert("-", at: text.index(text.startIndex, offsetBy: offset)) }
        return ObjectUID(text)
    }

    private static func node(_ number: Int) -> String {
        "ip-172-16-\(number / 256)-\(number % 256).eu-central-1.compute.internal"
    }

    private static func namespace(_ number: Int) -> String { "team-\(number % 500)" }

    private static func application(_ number: Int) -> String {
        let subjects = ["checkout", "payments", "search", "catalog", "identity", "billing", "metrics", "notifications"]
        return "\(subjects[number % subjects.count])-\(["api", "worker", "cache"][number % 3])-\(number)"
    }

    /// Returns a number as letters that Kubernetes uses for suffixes.
    private static func letters(_ number: Int, _ count: Int) -> String {
        let letters = Array("bcdfghjklmnpqrstvwxz2456789")
        var rest = UInt64(number) &* 0x9e37_79b9_7f4a_7c15 >> 8
        return String(
            (0..<count).map { _ in
                defer { rest /= 27 }
                return letters[Int(rest % 27)]
            })
    }
}
