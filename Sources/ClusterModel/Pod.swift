// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A pod of the cluster.
public struct Pod: Hashable, Sendable {
    /// The pod's identity, distinct from that of an earlier pod of the same name.
    public var uid: ObjectUID
    /// The pod's namespace.
    public var namespace: String
    /// The pod's name, unique in the namespace.
    public var name: String
    /// The name of the pod's node; empty until it is scheduled.
    public var node: String
    /// The pod's addresses (`status.podIPs`); the node's own for a pod in the host network.
    public var addresses: [IPAddress]
    /// The addresses of the pod's further interfaces, taken from annotations, which the pod's author can write.
    public var secondaryAddresses: [IPAddress]
    /// The addresses of the pod's node (`status.hostIPs`).
    public var hostAddresses: [IPAddress]
    /// Whether the pod is in its node's network, and so shares the node's addresses.
    public var hostNetwork: Bool
    /// Whether all containers have ended for good (phase `Succeeded` or `Failed`), so that the pod's address is free
    /// again.
    public var isTerminated: Bool
    /// The earliest time at which the pod may have had its address, in seconds since the Unix epoch, 0 if unknown: the
    /// later of `status.startTime` and the time at which condition `PodReadyToStartContainers`, or else `Initialized`,
    /// became true; without either, `metadata.creationTimestamp`.
    public var startedAt: UInt32
    /// The texts of the label columns that a label of the pod fills (``Label/ofPodLabels``), such as the application;
    /// none is empty.
    public var columnLabels: [Label: String]
    /// The pod's controller; nil for a pod without one.
    public var owner: ObjectOwner?
    /// The pod's labels, limited to the keys that rules on pods use.
    public var labels: [String: String]
    /// A digest of all of the pod's labels.
    public var labelSignature: LabelSignature

    /// Makes a pod from its parts; without a `uid`, namespace and name identify it, and without a `labelSignature`,
    /// that of `labels` is used.
    public init(
        uid: ObjectUID? = nil, namespace: String, name: String, node: String, addresses: [IPAddress],
        secondaryAddresses: [IPAddress] = [], hostAddresses: [IPAddress] = [], hostNetwork: Bool = false,
        isTerminated: Bool = false, startedAt: UInt32 = 0, columnLabels: [Label: String] = [:],
        owner: ObjectOwner? = nil, labels: [String: String] = [:],
        labelSignature: LabelSignature? = nil
    ) {
        self.uid = uid ?? ObjectUID("\(namespace)/\(name)")
        self.namespace = namespace
        self.name = name
        self.node = node
        self.addresses = addresses
        self.secondaryAddresses = secondaryAddresses
        self.hostAddresses = hostAddresses
        self.hostNetwork = hostNetwork
        self.isTerminated = isTerminated
        self.startedAt = startedAt
        self.columnLabels = columnLabels
        self.owner = owner
        self.labels = labels
        self.labelSignature = labelSignature ?? LabelSignature(labels)
    }
}
