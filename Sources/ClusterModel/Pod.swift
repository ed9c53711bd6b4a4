// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A pod of the cluster.
public struct Pod: Hashable, Sendable {
    /// What tells it apart from an earlier pod of the same name.
    public var uid: ObjectUID
    /// The namespace it lives in.
    public var namespace: String
    /// Its name, unique in the namespace.
    public var name: String
    /// The name of the node it runs on; empty until it is scheduled.
    public var node: String
    /// Its addresses (`status.podIPs`); the node's own if it is in the host network.
    public var addresses: [IPAddress]
    /// Those of its further interfaces, as annotations tell them, which the pod's author can write.
    public var secondaryAddresses: [IPAddress]
    /// The addresses of the node it runs on (`status.hostIPs`).
    public var hostAddresses: [IPAddress]
    /// Whether it shares the network of its node, and so its node's addresses.
    public var hostNetwork: Bool
    /// Whether all of its containers have ended for good (phase `Succeeded` or `Failed`): its address is free again.
    public var isTerminated: Bool
    /// From when on it may have had its address, in seconds since the Unix epoch, 0 if unknown: the newest of
    /// `status.startTime` and the time at which its condition `PodReadyToStartContainers`, or else `Initialized`, became true;
    /// where it has neither, `metadata.creationTimestamp`.
    public var startedAt: UInt32
    /// The application it is an instance of; empty if unknown.
    public var app: String
    /// The instance of the application that it belongs to; empty if unknown.
    public var instanceID: String
    /// The cell that the instance belongs to; empty if unknown.
    public var cell: String
    /// What controls it; nil where nothing does.
    public var owner: ObjectOwner?
    /// Its labels as far as somebody asked for them.
    public var labels: [String: String]
    /// A digest of all of its labels.
    public var labelSignature: LabelSignature

    /// Makes a pod of its parts; without a `uid`, namespace and name tell it apart, and without a `labelSignature`, it is that
    /// of `labels`.
    public init(
        uid: ObjectUID? = nil, namespace: String, name: String, node: String, addresses: [IPAddress],
        secondaryAddresses: [IPAddress] = [], hostAddresses: [IPAddress] = [], hostNetwork: Bool = false,
        isTerminated: Bool = false, startedAt: UInt32 = 0, app: String = "",
        instanceID: String = "", cell: String = "", owner: ObjectOwner? = nil, labels: [String: String] = [:],
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
        self.app = app
        self.instanceID = instanceID
        self.cell = cell
        self.owner = owner
        self.labels = labels
        self.labelSignature = labelSignature ?? LabelSignature(labels)
    }
}
