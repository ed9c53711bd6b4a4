// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FlowModel

extension Kubenetmon__Kubernetes__Node: ObjectMessage {}

extension KubernetesResource where Object == Node {
    /// All nodes.
    public static var nodes: KubernetesResource {
        KubernetesResource(name: "nodes", path: "/api/v1/nodes", unpack: kubenetmon__kubernetes__node__unpack) {
            metadata, message, addresses throws(MalformedObject.Problem) in
            try Node(metadata, message, &addresses)
        } bare: { identity in
            Node(uid: identity.uid, name: identity.name, addresses: [])
        }
    }
}

extension Node {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Node, _ addresses: inout AddressReader
    ) throws(MalformedObject.Problem) {
        if let status = message.status?.pointee { Self.read(status, &addresses) }
        self.init(
            uid: try metadata.checkedUID, name: try metadata.checkedName,
            addresses: addresses.addresses,
            zone: try Self.zone(metadata), createdAt: UInt32(metadata.creation_timestamp))
    }

    private static func read(_ status: Kubenetmon__Kubernetes__NodeStatus, _ addresses: inout AddressReader) {
        for index in 0..<status.n_addresses {
            guard let entry = status.addresses[index]?.pointee, let type = entry.type else { continue }
            guard ["InternalIP", "ExternalIP"].contains(String(cString: type)) else { continue }
            addresses.read(entry.address)
        }
    }

    /// The zone's label, or the one that it had before Kubernetes 1.17.
    private static func zone(_ metadata: ObjectMeta) throws(MalformedObject.Problem) -> String {
        var zone = ""
        var oldZone = ""
        try metadata.forEachLabel { key, value throws(MalformedObject.Problem) in
            switch String(cString: key) {
            case "topology.kubernetes.io/zone": zone = try String(value, field: "metadata.labels")
            case "failure-domain.beta.kubernetes.io/zone": oldZone = try String(value, field: "metadata.labels")
            default: break
            }
        }
        return zone.isEmpty ? oldZone : zone
    }
}
