// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Foundation
import KubernetesAPI

/// Responses of a real API server (v1.36): `….pb` in protobuf, `….json` the same in JSON.
enum Capture {
    static let allProtobuf = [
        "nodes.list.pb", "pods.list.pb", "pods.page1.pb", "pods.page2.pb", "pods.watch-expired.pb", "pods.watch.pb",
        "pods.watchlist.pb", "replicasets.partial-list.pb", "services.list.pb", "status-401.pb", "status-403.pb",
    ]

    static func bytes(_ name: String) throws -> [UInt8] {
        guard let folder = Bundle.module.resourceURL else { throw CocoaError(.fileNoSuchFile) }
        return Array(try Data(contentsOf: folder.appending(path: "Captures/\(name)")))
    }

    /// Returns the objects of a list, from its JSON.
    static func list(_ name: String) throws -> [CapturedObject] {
        try JSONDecoder().decode(CapturedList.self, from: Data(bytes(name))).items
    }

    /// Returns the events of a watch, from its JSON, one a line.
    static func watch(_ name: String) throws -> [CapturedEvent] {
        try bytes(name).split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(CapturedEvent.self, from: Data($0))
        }
    }
}

struct CapturedList: Decodable {
    let items: [CapturedObject]
}

struct CapturedEvent: Decodable {
    let type: String
    let object: CapturedObject
}

/// An object of the API server, of any kind, decoded from its JSON.
struct CapturedObject: Decodable {
    struct Metadata: Decodable {
        let name, namespace, uid, resourceVersion: String?
        let creationTimestamp: String?
        let labels: [String: String]?
        let ownerReferences: [Owner]?
    }
    struct Owner: Decodable {
        let kind, name, uid: String
        let controller: Bool?
    }
    struct Spec: Decodable {
        struct Port: Decodable {
            let `protocol`: String
            let port: UInt16
            let nodePort: UInt16?
        }
        let nodeName: String?
        let hostNetwork: Bool?
        let clusterIPs: [String]?
        let ports: [Port]?
        let selector: [String: String]?
    }
    struct Status: Decodable {
        struct IP: Decodable { let ip: String }
        struct Address: Decodable { let type, address: String }
        let podIPs: [IP]?
        let hostIPs: [IP]?
        let startTime: String?
        let addresses: [Address]?
    }

    let metadata: Metadata
    let spec: Spec?
    let status: Status?

    var pod: Pod {
        get throws {
            let labels = metadata.labels ?? [:]
            return Pod(
                uid: ObjectUID(metadata.uid ?? ""), namespace: metadata.namespace ?? "", name: metadata.name ?? "",
                node: spec?.nodeName ?? "", addresses: status?.podIPs?.compactMap { IPAddress($0.ip) } ?? [],
                hostAddresses: status?.hostIPs?.compactMap { IPAddress($0.ip) } ?? [],
                hostNetwork: spec?.hostNetwork ?? false,
                startedAt: try Self.seconds(status?.startTime ?? metadata.creationTimestamp),
                columnLabels: labels["app.kubernetes.io/name"].map { [.app: $0] } ?? [:], owner: owner,
                labels: labels.filter { $0.key == "pod-template-hash" }, labelSignature: LabelSignature(labels))
        }
    }

    var node: Node {
        get throws {
            Node(
                uid: ObjectUID(metadata.uid ?? ""), name: metadata.name ?? "",
                addresses: status?.addresses?.filter { $0.type == "InternalIP" }
                    .compactMap { IPAddress($0.address) } ?? [],
                zone: metadata.labels?["topology.kubernetes.io/zone"] ?? "",
                createdAt: try Self.seconds(metadata.creationTimestamp))
        }
    }

    var service: ClusterService {
        get throws {
            ClusterService(
                uid: ObjectUID(metadata.uid ?? ""), namespace: metadata.namespace ?? "", name: metadata.name ?? "",
                clusterAddresses: spec?.clusterIPs?.compactMap { IPAddress($0) } ?? [],
                ports: spec?.ports?.map {
                    .init(transport: $0.protocol == "UDP" ? .udp : .tcp, number: $0.port, nodePort: $0.nodePort ?? 0)
                } ?? [],
                selector: spec?.selector ?? [:],
                createdAt: try Self.seconds(metadata.creationTimestamp))
        }
    }

    var replicaSet: ReplicaSet { ReplicaSet(uid: ObjectUID(metadata.uid ?? ""), owner: owner) }

    private var owner: ObjectOwner? {
        metadata.ownerReferences?.first { $0.controller == true }
            .map { ObjectOwner(kind: $0.kind, name: $0.name, uid: ObjectUID($0.uid)) }
    }

    private static func seconds(_ text: String?) throws -> UInt32 {
        try text.map { UInt32(try Date($0, strategy: .iso8601).timeIntervalSince1970) } ?? 0
    }
}
