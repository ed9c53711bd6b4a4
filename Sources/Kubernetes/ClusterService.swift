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
    /// When it was made, in seconds since 1970-01-01 (UTC); 0 if unknown.
    public var createdAt: UInt32

    /// Makes a service of its parts; without a `uid`, namespace and name tell it apart.
    public init(
        uid: ObjectUID? = nil, namespace: String, name: String, clusterAddresses: [IPAddress], createdAt: UInt32 = 0
    ) {
        self.uid = uid ?? ObjectUID("\(namespace)/\(name)")
        self.namespace = namespace
        self.name = name
        self.clusterAddresses = clusterAddresses
        self.createdAt = createdAt
    }
}
