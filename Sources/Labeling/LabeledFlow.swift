// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// How far a flow travels, which is what decides its price. The raw values are those of the column `connectionClass`.
public enum ConnectionClass: String, CaseIterable, Sendable {
    /// It cannot be told.
    case unknown = "UNKNOWN"
    /// Within the own network.
    case intraVPC = "INTRA_VPC"
    /// To a public address of the own cloud in the own region, or one that has no particular region.
    case intraRegion = "INTRA_REGION"
    /// To a public address of the own cloud in another region.
    case interRegion = "INTER_REGION"
    /// To another cloud or anywhere else.
    case publicInternet = "PUBLIC_INTERNET"
}

/// What an end of a flow was found to be. The raw values are fit for a metric's label.
public enum EndpointKind: String, CaseIterable, Sendable {
    /// A pod of the cluster.
    case pod
    /// A node of the cluster.
    case node
    /// An address of a cloud's list, or of a range that somebody has named.
    case range
    /// A private address that nobody of the cluster has.
    case `private`
    /// Any other address.
    case unknown
}

/// One end of a flow. Good as long as the ``LabelReader`` that made it.
public struct LabeledEndpoint: Sendable {
    /// What is known about it.
    public let labels: LabelsReference
    /// Its address.
    public let address: IPAddress
    /// Its port.
    public let port: UInt16
    /// What it was found to be.
    public let kind: EndpointKind

    /// Makes an endpoint of its parts.
    public init(labels: LabelsReference, address: IPAddress, port: UInt16, kind: EndpointKind = .unknown) {
        self.labels = labels
        self.address = address
        self.port = port
        self.kind = kind
    }
}

/// A flow as rows tell it: from the side of the pod on the node that observed it. Good as long as the ``LabelReader`` that
/// made it.
public struct LabeledFlow: Sendable {
    /// The transport protocol.
    public let transport: TransportProtocol
    /// The end on the observing node.
    public let local: LabeledEndpoint
    /// The other end.
    public let remote: LabeledEndpoint
    /// The service whose address was dialled (``Label/service``), nil where it was none.
    public let service: LabelsReference?
    /// How far it travels.
    public let connectionClass: ConnectionClass
    /// What the configuration's rules say of it.
    public let flags: ConnectionFlags
    /// What the local side sent.
    public let sent: FlowCounters
    /// What the local side received.
    public let received: FlowCounters

    /// Makes a labelled flow of its parts.
    public init(
        transport: TransportProtocol, local: LabeledEndpoint, remote: LabeledEndpoint, service: LabelsReference? = nil,
        connectionClass: ConnectionClass, flags: ConnectionFlags = [], sent: FlowCounters, received: FlowCounters
    ) {
        self.transport = transport
        self.local = local
        self.remote = remote
        self.service = service
        self.connectionClass = connectionClass
        self.flags = flags
        self.sent = sent
        self.received = received
    }
}
