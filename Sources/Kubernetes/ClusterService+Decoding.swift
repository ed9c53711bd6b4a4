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
                clusterAddresses: try message.spec.map(ClusterService.addresses) ?? [])
        }
    }
}

extension ClusterService {
    /// `clusterIPs`, or `clusterIP` of a server that does not know those.
    fileprivate static func addresses(
        _ spec: UnsafeMutablePointer<Kubenetmon__Kubernetes__ServiceSpec>
    ) throws(MalformedObject.Problem) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<spec.pointee.n_cluster_ips {
            if let address = try address(spec.pointee.cluster_ips[index], "spec.clusterIPs") {
                addresses.append(address)
            }
        }
        if spec.pointee.n_cluster_ips == 0, let address = try address(spec.pointee.cluster_ip, "spec.clusterIP") {
            addresses.append(address)
        }
        return addresses
    }

    /// An address; nil for the `None` of a headless service.
    private static func address(
        _ text: UnsafePointer<CChar>?, _ field: StaticString
    ) throws(MalformedObject.Problem) -> IPAddress? {
        if let text, String(cString: text) == "None" { return nil }
        return try IPAddress(text, field: field)
    }
}
