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

    /// Makes a service of its parts; without a `uid`, namespace and name tell it apart.
    public init(uid: ObjectUID? = nil, namespace: String, name: String, clusterAddresses: [IPAddress]) {
        self.uid = uid ?? ObjectUID("\(namespace)/\(name)")
        self.namespace = namespace
        self.name = name
        self.clusterAddresses = clusterAddresses
    }
}
