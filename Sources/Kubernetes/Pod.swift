// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A pod of the cluster.
public struct Pod: Hashable, Sendable {
    /// The namespace it lives in.
    public var namespace: String
    /// Its name, unique in the namespace.
    public var name: String
    /// The name of the node it runs on.
    public var node: String
    /// Its addresses; the node's own if it is in the host network.
    public var addresses: [IPAddress]
    /// Whether it shares the network of its node, and so its node's addresses.
    public var hostNetwork: Bool
    /// The application it is an instance of; empty if unknown.
    public var app: String
    /// The instance of the application that it belongs to; empty if unknown.
    public var instanceID: String
    /// The cell that the instance belongs to; empty if unknown.
    public var cell: String

    /// Makes a pod of its parts.
    public init(
        namespace: String, name: String, node: String, addresses: [IPAddress], hostNetwork: Bool = false,
        app: String = "", instanceID: String = "", cell: String = ""
    ) {
        self.namespace = namespace
        self.name = name
        self.node = node
        self.addresses = addresses
        self.hostNetwork = hostNetwork
        self.app = app
        self.instanceID = instanceID
        self.cell = cell
    }
}
