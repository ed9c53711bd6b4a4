// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import TestSupport
import Testing

@testable import Labeling

private let second = ClusterID(rawValue: 1)
private let clusters = [ClusterID.first, second]

/// Two clusters with the same names, addresses and even UIDs in one index: nodes node-a and node-b, and on each a pod.
@Suite struct ClustersTests {
    private let index = ClusterIndex(sites: [
        Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main"),
        Site(environment: "production", cloud: "aws", region: "us-east-1", cluster: "other"),
    ]) { noon }
    private let labeler: Labeler

    init() {
        labeler = Labeler(index: index, configuration: Labeler.Configuration(ignoreNodeFlows: false))
        for cluster in clusters {
            list([Self.node("a", of: cluster), Self.node("b", of: cluster)], index.nodeStore(of: cluster))
            list([Self.web, Self.client], index.podStore(of: cluster))
        }
    }

    private static let web = Pod(
        namespace: "shop", name: "web", node: "node-a", addresses: [address("10.244.1.10")], labels: ["app": "web"])
    private static let client = Pod(
        namespace: "shop", name: "client", node: "node-b", addresses: [address("10.244.2.20")])

    private static func node(_ letter: String, of cluster: ClusterID) -> Node {
        Node(
            name: "node-\(letter)", addresses: [address(letter == "a" ? "172.18.0.2" : "172.18.0.3")],
            podNetworks: [prefix(letter == "a" ? "10.244.1.0/24" : "10.244.2.0/24")],
            zone: "\(cluster == .first ? "eu-central-1" : "us-east-1")\(letter)")
    }

    private func list<Object>(_ objects: [Object], _ store: some ObjectStore<Object>) {
        store.beginReplacement()
        for object in objects { store.add(object) }
        store.commitReplacement()
    }

    /// Returns both ends and the service of a flow as the node of a cluster reports them, `cluster/node/pod` each.
    private func row(
        _ source: String, _ destination: String, answeredBy: String? = nil, on node: String = "node-a",
        in cluster: ClusterID
    ) -> String {
        var flow = flow(source, destination, ports: (40_000, 443))
        if let answeredBy { flow.reply.source = address(answeredBy) }
        return labeler.read(observedOn: node, in: cluster, at: noon) { reader in
            guard case .labeled(let row) = reader.label(flow) else { return "ignored" }
            let ends = [row.local, row.remote].map { end in
                let labels = end.labels.labels
                return [labels[.cluster], labels[.node], labels[.pod]].filter { !$0.isEmpty }.joined(separator: "/")
            }
            let service = row.service.map { [" \($0.labels[.cluster])/\($0.labels[.service])"] } ?? []
            return ends.joined(separator: " ") + service.joined()
        }
    }

    @Test("equal names and addresses of two clusters are each their own cluster's")
    func equalObjects() {
        #expect(index.statistics.pods == 4 && index.statistics.nodes == 4)
        for (cluster, name) in zip(clusters, ["main", "other"]) {
            #expect(
                row("10.244.2.20", "10.244.1.10", on: "node-b", in: cluster)
                    == "\(name)/node-b/client \(name)/node-a/web")
            #expect(row("10.244.1.10", "172.18.0.3", in: cluster) == "\(name)/node-a/web \(name)/node-b")
            let zone = labeler.read(observedOn: "node-a", in: cluster, at: noon) { reader in
                guard case .labeled(let row) = reader.label(flow("10.244.1.10", "192.0.2.1")) else { return "ignored" }
                return row.local.labels.labels[.availabilityZone]
            }
            #expect(zone == (cluster == .first ? "eu-central-1a" : "us-east-1a"))
        }
    }

    @Test("a pod of another cluster is found where the own cluster has no owner of the address")
    func acrossClusters() {
        let far = Pod(namespace: "shop", name: "far", node: "node-a", addresses: [address("10.245.1.10")])
        list([far], index.podStore(of: second))
        #expect(row("10.244.1.10", "10.245.1.10", in: .first) == "main/node-a/web other/node-a/far")
        // Its node has the name of the observing node, and is another.
        #expect(row("10.245.1.10", "10.244.1.10", in: .first) == "main/node-a/web other/node-a/far")
        #expect(row("10.245.1.10", "10.244.1.10", in: second) == "other/node-a/far other/node-a/web")
        let lines = labeler.explain(flow("10.244.1.10", "10.245.1.10"), observedOn: "node-a", at: noon).lines
        #expect(lines.map(\.text).contains("10.245.1.10 is pod shop/far on node-a of cluster other"))
        #expect(lines.map(\.text).contains("rather than pod shop/web on node-a of cluster other"))
    }

    @Test("an annotation counts in its own cluster, and not over a pod of another cluster")
    func claimedAddresses() {
        list(
            [Pod(namespace: "shop", name: "far", node: "node-a", addresses: [address("10.245.1.10")])],
            index.podStore(of: second))
        var claiming = Self.web
        claiming.secondaryAddresses = [address("10.245.1.10"), address("10.246.1.1")]
        index.podStore().apply([.updated(claiming)])
        #expect(row("10.244.1.10", "10.245.1.10", in: .first) == "main/node-a/web other/node-a/far")
        #expect(row("10.244.1.10", "10.246.1.1", in: .first) == "main/node-a/web main/node-a/web")
        #expect(row("10.244.1.10", "10.246.1.1", in: second) == "other/node-a/web UNKNOWN")
    }

    @Test("an object that goes leaves the same object of another cluster alone")
    func deletion() {
        let pods = index.podStore()
        pods.apply([.updated(Self.web)])
        pods.apply([.deleted(Self.web)])
        #expect(index.statistics.pods == 3)
        index.nodeStore().apply([.deleted(Self.node("a", of: .first))])
        #expect(index.statistics.nodes == 3)
        #expect(row("10.244.2.20", "10.244.1.10", on: "node-b", in: second) == "other/node-b/client other/node-a/web")
        #expect(row("10.244.1.10", "172.18.0.2", in: second) == "other/node-a/web other/node-a")
    }

    @Test("services and node ports count in their own cluster alone")
    func services() {
        for (cluster, name) in zip(clusters, ["api", "db"]) {
            list(
                [
                    ClusterService(
                        namespace: "shop", name: name, clusterAddresses: [address("10.96.0.80")],
                        ports: [.init(transport: .tcp, number: 80, nodePort: 443)])
                ], index.serviceStore(of: cluster))
        }
        list(
            [
                ClusterService(namespace: "shop", name: "far", clusterAddresses: [address("10.96.0.81")]),
                ClusterService(
                    namespace: "shop", name: "db", clusterAddresses: [address("10.96.0.80")],
                    ports: [.init(transport: .tcp, number: 80, nodePort: 443)]),
            ], index.serviceStore(of: second))
        for (cluster, names) in zip(clusters, [("main", "api"), ("other", "db")]) {
            for dialled in ["10.96.0.80", "172.18.0.3"] {
                #expect(
                    row("10.244.1.10", dialled, answeredBy: "10.244.2.20", in: cluster)
                        == "\(names.0)/node-a/web \(names.0)/node-b/client \(names.0)/shop/\(names.1)")
            }
        }
        #expect(
            row("10.244.1.10", "10.96.0.81", answeredBy: "10.244.2.20", in: .first)
                == "main/node-a/web main/node-b/client")
    }

    @Test("only the cluster's own pods are behind a load balancer's address")
    func backends() {
        let balancer = ClusterService(
            namespace: "shop", name: "balancer", clusterAddresses: [], externalAddresses: [address("203.0.113.50")],
            ports: [.init(transport: .tcp, number: 443)], selector: ["app": "web"])
        list([balancer], index.serviceStore())
        #expect(row("192.0.2.1", "203.0.113.50", in: .first) == "main/node-a/web UNKNOWN main/shop/balancer")
        #expect(row("192.0.2.1", "203.0.113.50", in: second) == "ignored")
        list([balancer], index.serviceStore(of: second))
        #expect(row("192.0.2.1", "203.0.113.50", in: second) == "other/node-a/web UNKNOWN other/shop/balancer")
        index.podStore(of: second).apply([.deleted(Self.web)])
        #expect(row("192.0.2.1", "203.0.113.50", in: .first) == "main/node-a/web UNKNOWN main/shop/balancer")
        #expect(row("192.0.2.1", "203.0.113.50", in: second) == "other/node-a UNKNOWN other/shop/balancer")
    }

    @Test("host addresses and pod blocks belong to the nodes of their own cluster")
    func hostAddresses() {
        for cluster in clusters { index.setHostAddresses([address("10.9.9.9")], ofNode: "node-b", in: cluster) }
        index.setHostAddresses([address("10.9.9.10")], ofNode: "node-b", in: second)
        for (cluster, name) in zip(clusters, ["main", "other"]) {
            // In the block of node-a's pods, and no pod's.
            #expect(
                row("10.244.2.20", "10.244.1.1", on: "node-b", in: cluster)
                    == "\(name)/node-b/client \(name)/node-a")
        }
        #expect(row("10.244.1.10", "10.9.9.9", in: .first) == "main/node-a/web main/node-b")
        #expect(row("10.244.1.10", "10.9.9.9", in: second) == "other/node-a/web UNKNOWN")
        #expect(row("10.244.1.10", "10.9.9.10", in: .first) == "main/node-a/web UNKNOWN")
        #expect(row("10.244.1.10", "10.9.9.10", in: second) == "other/node-a/web other/node-b")
        // A node that comes after its agent's report.
        index.setHostAddresses([address("10.9.9.11")], ofNode: "node-c", in: second)
        let late = Node(name: "node-c", addresses: [address("172.18.0.4")])
        index.nodeStore().apply([.updated(late)])
        #expect(row("10.244.1.10", "10.9.9.11", in: .first) == "main/node-a/web UNKNOWN")
        index.nodeStore(of: second).apply([.updated(late)])
        #expect(row("10.244.1.10", "10.9.9.11", in: second) == "other/node-a/web other/node-c")
    }

    @Test("a cluster's ReplicaSets name the workloads of its own pods")
    func replicaSets() {
        let uid = ObjectUID("replica set")
        var web = Self.web
        web.owner = ObjectOwner(kind: "ReplicaSet", name: "web-5d4f8", uid: uid)
        func workload(in cluster: ClusterID) -> String {
            labeler.read(observedOn: "node-a", in: cluster, at: noon) { reader in
                guard case .labeled(let row) = reader.label(flow("10.244.1.10", "192.0.2.1")) else { return "ignored" }
                return row.local.labels.labels[.workload]
            }
        }
        let stores = clusters.map { index.replicaSetStore(of: $0) }
        for cluster in clusters { index.podStore(of: cluster).apply([.updated(web)]) }
        for (store, name) in zip(stores, ["one", "two"]) {
            list([ReplicaSet(uid: uid, owner: ObjectOwner(kind: "Rollout", name: name, uid: ObjectUID(name)))], store)
        }
        #expect(workload(in: .first) == "Rollout/one" && workload(in: second) == "Rollout/two")
        #expect(index.statistics.replicaSets == 2)
        // A ReplicaSet that goes is unknown to its own cluster alone, when a pod changes.
        list([], stores[0])
        web.columnLabels = [.app: "web"]
        for cluster in clusters { index.podStore(of: cluster).apply([.updated(web)]) }
        #expect(workload(in: .first) == "Deployment/web" && workload(in: second) == "Rollout/two")
        #expect(index.statistics.replicaSets == 1)
    }

    @Test("ranges and unknown ends have the place and class that the observing cluster gives them")
    func places() {
        labeler.apply(Labeler.Configuration(ignoreUnknownDirection: false))
        labeler.setRanges([
            CloudRange(prefix: prefix("198.51.100.0/24"), place: CloudPlace(cloud: "aws", region: "us-east-1"))
        ])
        func remote(_ destination: String, in cluster: ClusterID) -> String {
            labeler.read(observedOn: "node-a", in: cluster, at: noon) { reader in
                guard case .labeled(let row) = reader.label(flow("10.244.1.10", destination)) else { return "ignored" }
                return "\(row.remote.labels.labels[.region]) \(row.connectionClass.rawValue)"
            }
        }
        #expect(remote("198.51.100.1", in: .first) == "us-east-1 INTER_REGION")
        #expect(remote("198.51.100.1", in: second) == "us-east-1 INTRA_REGION")
        #expect(remote("192.168.7.7", in: .first) == "eu-central-1 INTRA_VPC")
        #expect(remote("192.168.7.7", in: second) == "us-east-1 INTRA_VPC")
        #expect(row("192.0.2.1", "192.0.2.2", on: "node-z", in: .first) == "main UNKNOWN")
        #expect(row("192.0.2.1", "192.0.2.2", on: "node-z", in: second) == "other UNKNOWN")
    }

    @Test("a cluster's identity takes no memory of its own")
    func memory() {
        #expect(MemoryLayout<Candidate>.stride == 32)
        #expect(MemoryLayout<ClusterRecords.Owner>.stride == 64)
        #expect(ObjectUID("web").qualified(by: .first) == ObjectUID("web"))
        let all = (0...UInt8.max).map { ObjectUID("web").qualified(by: ClusterID(rawValue: $0)) }
        #expect(Set(all).count == 256)
    }
}
