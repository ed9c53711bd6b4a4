// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FlowModel

extension Kubenetmon__Kubernetes__Node: ObjectMessage {}

extension KubernetesResource where Object == Node {
    /// All nodes.
    public static var nodes: KubernetesResource {
        KubernetesResource(name: "nodes", path: "/api/v1/nodes", unpack: kubenetmon__kubernetes__node__unpack) {
            metadata, message throws(MalformedObject.Problem) in
            try Node(metadata, message)
        } bare: { identity in
            Node(uid: identity.uid, name: identity.name, addresses: [])
        }
    }
}

extension Node {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Node
    ) throws(MalformedObject.Problem) {
        self.init(
            uid: try metadata.checkedUID, name: try metadata.checkedName,
            addresses: message.status.map(Self.addresses) ?? [],
            zone: try Self.zone(metadata), createdAt: UInt32(metadata.creation_timestamp))
    }

    private static func addresses(
        _ status: UnsafeMutablePointer<Kubenetmon__Kubernetes__NodeStatus>
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<status.pointee.n_addresses {
            guard let entry = status.pointee.addresses[index]?.pointee, let type = entry.type else { continue }
            guard ["InternalIP", "ExternalIP"].contains(String(cString: type)) else { continue }
            if let address = IPAddress(cString: entry.address) { addresses.append(address) }
        }
        return addresses
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
