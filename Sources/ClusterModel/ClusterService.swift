// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A service of the cluster with addresses of its own.
public struct ClusterService: Hashable, Sendable {
    /// The service's identity, distinct from that of an earlier service of the same name.
    public var uid: ObjectUID
    /// The service's namespace.
    public var namespace: String
    /// The service's name, unique in the namespace.
    public var name: String
    /// The addresses for clients in the cluster (`spec.clusterIPs`); empty for a headless service.
    public var clusterAddresses: [IPAddress]
    /// The addresses for clients outside the cluster, which several services may share: the load balancer's
    /// (`status.loadBalancer.ingress`) and `spec.externalIPs`.
    public var externalAddresses: [IPAddress]
    /// The service's ports (`spec.ports`).
    public var ports: [Port]
    /// The labels that select the service's pods (`spec.selector`); empty for a service without a selector, whose
    /// endpoints are set by hand.
    public var selector: [String: String]
    /// The creation time, in seconds since 1970-01-01 (UTC); 0 if unknown.
    public var createdAt: UInt32

    /// A port of a service.
    public struct Port: Hashable, Sendable {
        /// The protocol.
        public var transport: TransportProtocol
        /// The port at the service's addresses.
        public var number: UInt16
        /// The port at every node's addresses; 0 without a node port.
        public var nodePort: UInt16

        /// Makes a port from its parts.
        public init(transport: TransportProtocol, number: UInt16, nodePort: UInt16 = 0) {
            self.transport = transport
            self.number = number
            self.nodePort = nodePort
        }
    }

    /// Makes a service from its parts; without a `uid`, namespace and name identify it.
    public init(
        uid: ObjectUID? = nil, namespace: String, name: String, clusterAddresses: [IPAddress],
        externalAddresses: [IPAddress] = [], ports: [Port] = [], selector: [String: String] = [:], createdAt: UInt32 = 0
    ) {
        self.uid = uid ?? ObjectUID("\(namespace)/\(name)")
        self.namespace = namespace
        self.name = name
        self.clusterAddresses = clusterAddresses
        self.externalAddresses = externalAddresses
        self.ports = ports
        self.selector = selector
        self.createdAt = createdAt
    }
}
