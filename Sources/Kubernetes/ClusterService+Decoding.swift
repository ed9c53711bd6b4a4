// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FlowModel

extension Kubenetmon__Kubernetes__Service: ObjectMessage {}

extension KubernetesResource where Object == ClusterService {
    /// All services.
    public static var services: KubernetesResource {
        KubernetesResource(
            name: "services", path: "/api/v1/services", unpack: kubenetmon__kubernetes__service__unpack
        ) { metadata, message throws(MalformedObject.Problem) in
            ClusterService(
                uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace,
                name: try metadata.checkedName,
                clusterAddresses: message.spec.map(ClusterService.addresses) ?? [],
                createdAt: UInt32(metadata.creation_timestamp))
        } bare: { identity in
            ClusterService(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, clusterAddresses: [])
        }
    }
}

extension ClusterService {
    /// `clusterIPs`, or `clusterIP` of a server that does not know those. The `None` of a headless service is no address.
    fileprivate static func addresses(
        _ spec: UnsafeMutablePointer<Kubenetmon__Kubernetes__ServiceSpec>
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<spec.pointee.n_cluster_ips {
            if let address = IPAddress(cString: spec.pointee.cluster_ips[index]) { addresses.append(address) }
        }
        if spec.pointee.n_cluster_ips == 0, let address = IPAddress(cString: spec.pointee.cluster_ip) {
            addresses.append(address)
        }
        return addresses
    }
}
