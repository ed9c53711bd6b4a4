// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
public import ClusterModel
import FlowModel

extension Kubenetmon__Kubernetes__Node: ObjectMessage {}

extension KubernetesResource where Object == Node {
    /// The resource of all nodes.
    public static var nodes: KubernetesResource {
        KubernetesResource(name: "nodes", path: "/api/v1/nodes", unpack: kubenetmon__kubernetes__node__unpack) {
            metadata, message, reader throws(MalformedObject.Problem) in
            try Node(metadata, message, &reader)
        } bare: { identity in
            Node(uid: identity.uid, name: identity.name, addresses: [])
        }
    }
}

extension Node {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Node, _ reader: inout AddressReader
    ) throws(MalformedObject.Problem) {
        var addresses = message.status.map { Self.addresses($0.pointee, &reader) } ?? []
        var podNetworks = message.spec.map { Self.podNetworks($0.pointee, &reader) } ?? []
        metadata.forEachAddress(in: NetworkAnnotation.ofNodes, &reader) { content, text, reader in
            switch content {
            case .addresses: reader.read(text, into: &addresses, limit: KubernetesLimits.nodeAddresses)
            case .podNetworks: reader.read(text, into: &podNetworks)
            }
        }
        self.init(
            uid: try metadata.checkedUID, name: try metadata.checkedName, addresses: addresses,
            podNetworks: podNetworks, zone: try Self.zone(metadata), createdAt: UInt32(metadata.creation_timestamp))
    }

    private static func addresses(
        _ status: Kubenetmon__Kubernetes__NodeStatus, _ reader: inout AddressReader
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<status.n_addresses {
            guard let entry = status.addresses[index]?.pointee, let type = entry.type else { continue }
            guard ["InternalIP", "ExternalIP"].contains(String(cString: type)) else { continue }
            reader.read(entry.address, into: &addresses, limit: KubernetesLimits.nodeAddresses)
        }
        return addresses.filter(\.isOfInterface)
    }

    /// Returns `podCIDRs`, or `podCIDR` from a server without `podCIDRs`.
    private static func podNetworks(
        _ spec: Kubenetmon__Kubernetes__NodeSpec, _ reader: inout AddressReader
    ) -> [IPPrefix] {
        var networks: [IPPrefix] = []
        for index in 0..<spec.n_pod_cidrs { reader.read(spec.pod_cidrs[index], into: &networks) }
        if spec.n_pod_cidrs == 0 { reader.read(spec.pod_cidr, into: &networks) }
        return networks
    }

    /// Returns the zone from its label, or from the label's name before Kubernetes 1.17.
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
