// SPDX-License-Identifier: Apache-2.0

/// What can be known about one end of a flow, address and port apart.
public enum Label: Int, CaseIterable, Sendable {
    /// The cloud, empty where the address is in no known range.
    case cloud
    /// The cloud's region.
    case region
    /// The cluster, ``EndpointLabels/unknown`` outside our own.
    case cluster
    /// The cell of the instance.
    case cell
    /// The availability zone of the node.
    case availabilityZone
    /// The node's name.
    case node
    /// The instance that the pod belongs to.
    case instanceID
    /// The pod's namespace.
    case namespace
    /// The pod's name.
    case pod
    /// The application.
    case app
    /// The cloud's service that the address belongs to, such as `s3`.
    case cloudService
    /// What the pod is one of, such as `Deployment/web`.
    case workload
    /// The service that has the address, as `namespace/name`.
    case service
}

/// What is known about one end of a flow.
///
/// One object serves all flows of an endpoint; rows refer to it by its identity and to its texts by their numbers, so
/// that texts are touched once for each distinct value and block and not once for each flow.
public final class EndpointLabels: Sendable {
    /// The value of labels that nobody can know.
    public static let unknown = "UNKNOWN"

    /// The connection flags whose rules on pods' labels this end meets.
    let flags: ConnectionFlags
    private let values: InlineArray<13, LabelID>

    /// Makes labels of their values; what is not known stays empty.
    public convenience init(
        cloud: String = "", region: String = "", cluster: String = EndpointLabels.unknown, cell: String = "",
        availabilityZone: String = "", node: String = "", instanceID: String = "", namespace: String = "",
        pod: String = "", app: String = "", cloudService: String = "", workload: String = "", service: String = ""
    ) {
        self.init(
            cloud: cloud, region: region, cluster: cluster, cell: cell, availabilityZone: availabilityZone, node: node,
            instanceID: instanceID, namespace: namespace, pod: pod, app: app, cloudService: cloudService,
            workload: workload, service: service, flags: [])
    }

    convenience init(
        cloud: String = "", region: String = "", cluster: String = EndpointLabels.unknown, cell: String = "",
        availabilityZone: String = "", node: String = "", instanceID: String = "", namespace: String = "",
        pod: String = "", app: String = "", cloudService: String = "", workload: String = "", service: String = "",
        flags: ConnectionFlags
    ) {
        self.init(flags: flags) { label in
            let text =
                switch label {
                case .cloud: cloud
                case .region: region
                case .cluster: cluster
                case .cell: cell
                case .availabilityZone: availabilityZone
                case .node: node
                case .instanceID: instanceID
                case .namespace: namespace
                case .pod: pod
                case .app: app
                case .cloudService: cloudService
                case .workload: workload
                case .service: service
                }
            return LabelTable.hold(text)
        }
    }

    /// `hold` holds a text for each label.
    private init(flags: ConnectionFlags, _ hold: (Label) -> LabelID) {
        self.flags = flags
        values = InlineArray { index in Label(rawValue: index).map(hold) ?? .empty }
    }

    deinit {
        for label in Label.allCases { LabelTable.release(id(of: label)) }
    }

    /// The number of a label's text; good as long as the object lives.
    public func id(of label: Label) -> LabelID { values[label.rawValue] }

    /// A label's text.
    public subscript(label: Label) -> String { LabelTable.text(of: id(of: label)) }

    /// The same labels, one of them with another text.
    func replacing(_ label: Label, with text: String) -> EndpointLabels {
        EndpointLabels(flags: flags) { $0 == label ? LabelTable.hold(text) : LabelTable.holdAgain(id(of: $0)) }
    }

    func hasSameValues(as other: EndpointLabels) -> Bool {
        flags == other.flags && Label.allCases.allSatisfy { id(of: $0) == other.id(of: $0) }
    }
}

/// A reference to labels that does not keep them: good as long as what gave it says.
public struct LabelsReference: Hashable, Sendable {
    private let unmanaged: UnmanagedLabels

    /// `Unmanaged` is not Sendable; what it points to is.
    private struct UnmanagedLabels: @unchecked Sendable, Hashable {
        let value: Unmanaged<EndpointLabels>

        static func == (left: Self, right: Self) -> Bool { left.value.toOpaque() == right.value.toOpaque() }
        func hash(into hasher: inout Hasher) { hasher.combine(value.toOpaque()) }
    }

    /// Refers to labels that the caller keeps.
    public init(_ labels: EndpointLabels) {
        unmanaged = UnmanagedLabels(value: .passUnretained(labels))
    }

    /// Where the labels are in memory: what tells them apart from all others that live.
    public var identity: UInt { UInt(bitPattern: unmanaged.value.toOpaque()) }

    /// The labels, kept from now on.
    public var labels: EndpointLabels { unmanaged.value.takeUnretainedValue() }

    var flags: ConnectionFlags { unmanaged.value._withUnsafeGuaranteedRef { $0.flags } }
}
