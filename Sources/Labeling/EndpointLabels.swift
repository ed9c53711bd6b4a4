// SPDX-License-Identifier: Apache-2.0

/// A label of one end of a flow; address and port are not labels.
public enum Label: Int, CaseIterable, Sendable {
    /// The cloud; empty if the address is in no known range.
    case cloud
    /// The cloud's region.
    case region
    /// The cluster; ``EndpointLabels/unknown`` outside our cluster.
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
    /// The workload that the pod belongs to, such as `Deployment/web`.
    case workload
    /// The service that has the address, as `namespace/name`.
    case service
}

/// The labels of one end of a flow.
///
/// One object serves all flows of an endpoint. Rows refer to the object by its identity and to its texts by their
/// numbers, so that a text is accessed once for each distinct value and block, not once for each flow.
public final class EndpointLabels: Sendable {
    /// The value of labels that cannot be known.
    public static let unknown = "UNKNOWN"

    /// The connection flags whose conditions on pod labels this end meets.
    let flags: ConnectionFlags
    private let values: InlineArray<13, LabelID>

    /// Makes labels of their values; unknown values stay empty.
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

    /// Makes labels of the texts that `hold` holds, one for each label.
    private init(flags: ConnectionFlags, _ hold: (Label) -> LabelID) {
        self.flags = flags
        values = InlineArray { index in Label(rawValue: index).map(hold) ?? .empty }
    }

    deinit {
        for label in Label.allCases { LabelTable.release(id(of: label)) }
    }

    /// Returns the number of a label's text, valid as long as the object lives.
    public func id(of label: Label) -> LabelID { values[label.rawValue] }

    /// A label's text.
    public subscript(label: Label) -> String { LabelTable.text(of: id(of: label)) }

    /// Returns the same labels with another text for `label`.
    func replacing(_ label: Label, with text: String) -> EndpointLabels {
        EndpointLabels(flags: flags) { $0 == label ? LabelTable.hold(text) : LabelTable.holdAgain(id(of: $0)) }
    }

    func hasSameValues(as other: EndpointLabels) -> Bool {
        flags == other.flags && Label.allCases.allSatisfy { id(of: $0) == other.id(of: $0) }
    }
}

/// An unretained reference to labels. Its source states how long it is valid.
public struct LabelsReference: Hashable, Sendable {
    private let unmanaged: UnmanagedLabels

    /// `Unmanaged` is not Sendable; what it points to is.
    private struct UnmanagedLabels: @unchecked Sendable, Hashable {
        let value: Unmanaged<EndpointLabels>

        static func == (left: Self, right: Self) -> Bool { left.value.toOpaque() == right.value.toOpaque() }
        func hash(into hasher: inout Hasher) { hasher.combine(value.toOpaque()) }
    }

    /// Makes a reference to labels that the caller retains.
    public init(_ labels: EndpointLabels) {
        unmanaged = UnmanagedLabels(value: .passUnretained(labels))
    }

    /// The labels' address in memory, which is unique among live labels.
    public var identity: UInt { UInt(bitPattern: unmanaged.value.toOpaque()) }

    /// The labels, retained.
    public var labels: EndpointLabels { unmanaged.value.takeUnretainedValue() }

    var flags: ConnectionFlags { unmanaged.value._withUnsafeGuaranteedRef { $0.flags } }
}
