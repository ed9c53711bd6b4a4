// SPDX-License-Identifier: Apache-2.0

/// A label of one end of a flow; address and port are not labels.
///
/// A label is a case, its ``definition`` and a place in ``Values``. Memory layout, columns, the settings `pod_labels`,
/// the keys of inventory files and the output of `explain` follow from these. The order of the cases is that of the
/// columns.
public enum Label: Int, CaseIterable, Sendable {
    /// The cloud; empty if the address is in no known range.
    case cloud
    /// The cloud's region.
    case region
    /// The cluster; `UNKNOWN` outside our cluster.
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

    /// A value for each label, at the index of its raw value. The first set of labels that is made checks the count.
    public typealias Values<Value> = InlineArray<13, Value>

    /// The label's columns, the source of its texts and its documentation.
    public var definition: LabelDefinition {
        switch self {
        case .cloud:
            LabelDefinition(column: "Cloud", meaning: .each(local: Self.configured, remote: Self.place))
        case .region:
            LabelDefinition(column: "Region", meaning: .each(local: Self.configured, remote: Self.place))
        case .cluster:
            LabelDefinition(
                column: "Cluster",
                meaning: .each(
                    local: Self.configured, remote: "the server's own for pods and nodes, else `UNKNOWN`"))
        case .cell:
            LabelDefinition(
                column: "Cell", source: .podLabel(setting: "cell", defaultKeys: []), meaning: .both(Self.podLabels))
        case .availabilityZone:
            LabelDefinition(
                column: "AvailabilityZone",
                meaning: .each(
                    local: "the zone of `localNode`",
                    remote: """
                        the zone of `remoteNode`; for an end outside the cluster, the `availability_zone` of the entry of \
                        `ranges` that contains its address
                        """))
        case .node:
            LabelDefinition(
                column: "Node",
                meaning: .each(
                    local: """
                        the pod's node; for an end outside the cluster (a client of a NodePort, a container behind a \
                        node), the node that observed the flow
                        """,
                    remote: "the pod's node, or the node itself; empty for an end outside the cluster"))
        case .instanceID:
            LabelDefinition(
                column: "InstanceID", source: .podLabel(setting: "instance_id", defaultKeys: ["control-plane-id"]),
                meaning: .both(Self.podLabels))
        case .namespace:
            LabelDefinition(column: "Namespace", meaning: .both(Self.ofPod))
        case .pod:
            LabelDefinition(column: "Pod", meaning: .both(Self.ofPod))
        case .app:
            LabelDefinition(
                column: "App", source: .podLabel(setting: "app", defaultKeys: ["app.kubernetes.io/name", "k8s-app"]),
                meaning: .both("the pod's `app.kubernetes.io/name`, else `k8s-app`"))
        case .cloudService:
            LabelDefinition(
                column: "CloudService",
                meaning: .remoteOnly("the cloud service that the address belongs to, such as `s3`"))
        case .workload:
            LabelDefinition(
                column: "Workload", meaning: .both("the pod's controller, such as `Deployment/web`"),
                migration: "002_extended_columns")
        case .service:
            LabelDefinition(
                column: "Service", source: .dialledService,
                meaning: .remoteOnly("the service whose address was dialled, `namespace/name`"),
                migration: "002_extended_columns")
        }
    }

    private static let configured = "from the server's configuration, even if the local end is outside the cluster"
    private static let place =
        "the server's own for pods, nodes and private addresses, else those of the range that contains the address"
    private static let ofPod = "the pod; empty for a node and for an end outside the cluster"
    private static let podLabels = "the pod labels that the server is configured to read (`pod_labels`)"

    /// The labels that pods carry as labels of their own.
    public static let ofPodLabels: [(label: Label, setting: String, defaultKeys: [String])] = allCases.compactMap {
        guard case .podLabel(let setting, let defaultKeys) = $0.definition.source else { return nil }
        return ($0, setting, defaultKeys)
    }
}
