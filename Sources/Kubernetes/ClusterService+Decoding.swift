// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FlowModel

extension Kubenetmon__Kubernetes__Service: ObjectMessage {}

extension KubernetesResource where Object == ClusterService {
    /// All services.
    public static var services: KubernetesResource {
        KubernetesResource(
            name: "services", path: "/api/v1/services", unpack: kubenetmon__kubernetes__service__unpack
        ) { metadata, message, addresses throws(MalformedObject.Problem) in
            if let spec = message.spec?.pointee { ClusterService.read(spec, &addresses) }
            return ClusterService(
                uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace,
                name: try metadata.checkedName, clusterAddresses: addresses.addresses,
                createdAt: UInt32(metadata.creation_timestamp))
        } bare: { identity in
            ClusterService(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, clusterAddresses: [])
        }
    }
}

extension ClusterService {
    /// `clusterIPs`, or `clusterIP` of a server that does not know those. The `None` of a headless service is no address.
    fileprivate static func read(
        _ spec: Kubenetmon__Kubernetes__ServiceSpec, _ addresses: inout AddressReader
    ) {
        for index in 0..<spec.n_cluster_ips { read(spec.cluster_ips[index], &addresses) }
        if spec.n_cluster_ips == 0 { read(spec.cluster_ip, &addresses) }
    }

    private static func read(_ text: UnsafePointer<CChar>?, _ addresses: inout AddressReader) {
        guard let text, String(cString: text) != "None" else { return }
        addresses.read(text)
    }
}
