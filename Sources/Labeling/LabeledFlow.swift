// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// The distance that a flow travels, which decides its price. The raw values are those of the column `connectionClass`.
public enum ConnectionClass: String, CaseIterable, Sendable {
    /// The distance cannot be determined.
    case unknown = "UNKNOWN"
    /// Within our network.
    case intraVPC = "INTRA_VPC"
    /// To a public address of our cloud, in our region or in no particular region (`global`).
    case intraRegion = "INTRA_REGION"
    /// To a public address of our cloud in another region.
    case interRegion = "INTER_REGION"
    /// To another cloud or to any other public address.
    case publicInternet = "PUBLIC_INTERNET"
}

/// The kind of an end of a flow. The raw values are used as a metric's label.
public enum EndpointKind: String, CaseIterable, Sendable {
    /// A pod of the cluster.
    case pod
    /// A node of the cluster.
    case node
    /// An address in a provider's list or in a configured range.
    case range
    /// A private address without a pod or node.
    case `private`
    /// Any other address.
    case unknown
}

/// One end of a flow. Valid as long as the ``LabelReader`` that made it.
public struct LabeledEndpoint: Sendable {
    /// Its labels.
    public let labels: LabelsReference
    /// Its address.
    public let address: IPAddress
    /// Its port.
    public let port: UInt16
    /// Its kind.
    public let kind: EndpointKind

    /// Makes an endpoint of its parts.
    public init(labels: LabelsReference, address: IPAddress, port: UInt16, kind: EndpointKind = .unknown) {
        self.labels = labels
        self.address = address
        self.port = port
        self.kind = kind
    }
}

/// A flow as rows describe it: from its local end, usually a pod on the observing node. Valid as long as the
/// ``LabelReader`` that made it.
public struct LabeledFlow: Sendable {
    /// The transport protocol.
    public let transport: TransportProtocol
    /// The end on the observing node.
    public let local: LabeledEndpoint
    /// The other end.
    public let remote: LabeledEndpoint
    /// The service whose address was dialled (``Label/service``); nil if the address is no service's.
    public let service: LabelsReference?
    /// The distance that the flow travels.
    public let connectionClass: ConnectionClass
    /// The reason for which ``local`` is the local end. It fits in padding, so that it takes no memory.
    var decision = LocalEndDecision()
    /// Whether the local end opened the connection, as far as conntrack has seen; else, the remote end did. In padding
    /// too, like ``zone``.
    public let isOpenedByLocal: Bool
    /// The conntrack zone on the observing node; 0 for the default zone.
    public let zone: UInt16
    /// The flags set by address translation and by the configuration's rules.
    public let flags: ConnectionFlags
    /// Counters of the traffic that the local end sent.
    public let sent: FlowCounters
    /// Counters of the traffic that the local end received.
    public let received: FlowCounters

    /// Makes a labelled flow of its parts.
    public init(
        transport: TransportProtocol, local: LabeledEndpoint, remote: LabeledEndpoint, service: LabelsReference? = nil,
        connectionClass: ConnectionClass, flags: ConnectionFlags = [], sent: FlowCounters, received: FlowCounters,
        isOpenedByLocal: Bool = true, zone: UInt16 = 0
    ) {
        self.transport = transport
        self.local = local
        self.remote = remote
        self.service = service
        self.connectionClass = connectionClass
        self.flags = flags
        self.sent = sent
        self.received = received
        self.isOpenedByLocal = isOpenedByLocal
        self.zone = zone
    }
}
