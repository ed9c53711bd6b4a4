// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A service of the cluster with addresses of its own.
public struct ClusterService: Hashable, Sendable {
    /// What tells it apart from an earlier service of the same name.
    public var uid: ObjectUID
    /// The namespace it lives in.
    public var namespace: String
    /// Its name, unique in the namespace.
    public var name: String
    /// The addresses that clients in the cluster dial (`spec.clusterIPs`); empty for a headless service.
    public var clusterAddresses: [IPAddress]
    /// Those that clients dial from elsewhere, which services may share: its load balancer's
    /// (`status.loadBalancer.ingress`) and `spec.externalIPs`.
    public var externalAddresses: [IPAddress]
    /// Its ports (`spec.ports`).
    public var ports: [Port]
    /// The labels of the pods behind it (`spec.selector`); empty where it has none, and its endpoints are set by hand.
    public var selector: [String: String]
    /// When it was made, in seconds since 1970-01-01 (UTC); 0 if unknown.
    public var createdAt: UInt32

    /// A port of a service.
    public struct Port: Hashable, Sendable {
        /// The protocol.
        public var transport: TransportProtocol
        /// The port at its addresses.
        public var number: UInt16
        /// The port at every node's addresses; 0 where there is none.
        public var nodePort: UInt16

        /// Makes a port of its parts.
        public init(transport: TransportProtocol, number: UInt16, nodePort: UInt16 = 0) {
            self.transport = transport
            self.number = number
            self.nodePort = nodePort
        }
    }

    /// Makes a service of its parts; without a `uid`, namespace and name tell it apart.
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
