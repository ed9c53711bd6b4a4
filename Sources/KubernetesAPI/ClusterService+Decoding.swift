// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
public import ClusterModel
import FlowModel

extension Kubenetmon__Kubernetes__Service: ObjectMessage {}

extension KubernetesResource where Object == ClusterService {
    /// The resource of all services.
    public static var services: KubernetesResource {
        KubernetesResource(
            name: "services", path: "/api/v1/services", unpack: kubenetmon__kubernetes__service__unpack
        ) { metadata, message, reader throws(MalformedObject.Problem) in
            try ClusterService(metadata, message, &reader)
        } bare: { identity in
            ClusterService(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, clusterAddresses: [])
        }
    }
}

extension ClusterService {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Service, _ reader: inout AddressReader
    ) throws(MalformedObject.Problem) {
        self.init(
            uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace, name: try metadata.checkedName,
            clusterAddresses: [], createdAt: UInt32(metadata.creation_timestamp))
        // An ExternalName service is a DNS name; its other fields have no effect.
        guard let spec = message.spec?.pointee, spec.type.map({ String(cString: $0) }) != "ExternalName" else { return }
        clusterAddresses = Self.clusterAddresses(spec, &reader)
        externalAddresses = Self.externalAddresses(spec, message.status?.pointee, &reader)
        ports = Self.ports(spec)
        selector = try Self.selector(spec)
    }

    /// Returns `clusterIPs`, or `clusterIP` from a server without `clusterIPs`. The `None` of a headless service is not
    /// an address.
    private static func clusterAddresses(
        _ spec: Kubenetmon__Kubernetes__ServiceSpec, _ reader: inout AddressReader
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        let read = { (text: UnsafePointer<CChar>?, reader: inout AddressReader) in
            guard let text, String(cString: text) != "None" else { return }
            reader.read(text, into: &addresses)
        }
        for index in 0..<spec.n_cluster_ips { read(spec.cluster_ips[index], &reader) }
        if spec.n_cluster_ips == 0 { read(spec.cluster_ip, &reader) }
        return addresses
    }

    /// Returns the load balancer's addresses, without host names, and `externalIPs`.
    private static func externalAddresses(
        _ spec: Kubenetmon__Kubernetes__ServiceSpec, _ status: Kubenetmon__Kubernetes__ServiceStatus?,
        _ reader: inout AddressReader
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        let limit = KubernetesLimits.externalAddresses
        if let balancer = status?.load_balancer?.pointee {
            for index in 0..<balancer.n_ingress {
                reader.read(balancer.ingress[index]?.pointee.ip, into: &addresses, limit: limit)
            }
        }
        for index in 0..<spec.n_external_ips {
            reader.read(spec.external_ips[index], into: &addresses, limit: limit)
        }
        return addresses
    }

    /// Returns the ports with a supported protocol; the API server allows no number outside 1…65535.
    private static func ports(_ spec: Kubenetmon__Kubernetes__ServiceSpec) -> [Port] {
        (0..<min(spec.n_ports, KubernetesLimits.servicePorts)).compactMap { index in
            guard let port = spec.ports[index]?.pointee, let transport = transport(port.protocol),
                let number = UInt16(exactly: port.port), number > 0
            else { return nil }
            return Port(transport: transport, number: number, nodePort: UInt16(exactly: port.node_port) ?? 0)
        }
    }

    private static func transport(_ name: UnsafePointer<CChar>?) -> TransportProtocol? {
        let name = name.map { String(cString: $0) } ?? ""
        return name.isEmpty ? .tcp : transports[name]
    }

    /// The protocols that a service's port can have, as the API server spells them.
    private static let transports = [String: TransportProtocol](
        uniqueKeysWithValues: [TransportProtocol.tcp, .udp, .sctp].map { ($0.description.uppercased(), $0) })

    private static func selector(
        _ spec: Kubenetmon__Kubernetes__ServiceSpec
    ) throws(MalformedObject.Problem) -> [String: String] {
        var selector: [String: String] = [:]
        for index in 0..<spec.n_selector {
            guard let entry = spec.selector[index]?.pointee else { continue }
            let key = try String(entry.key, field: "spec.selector")
            selector[key] = try String(entry.value, field: "spec.selector")
        }
        return selector
    }
}
