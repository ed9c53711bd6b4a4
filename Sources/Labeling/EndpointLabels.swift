// SPDX-License-Identifier: Apache-2.0

/// What is known about one end of a flow, address and port apart.
///
/// One object serves all flows of an endpoint; rows refer to it by its identity, so that strings are touched once for
/// each endpoint and block and not once for each flow.
public final class EndpointLabels: Sendable {
    /// The value of labels that nobody can know.
    public static let unknown = "UNKNOWN"

    /// The cloud, empty where the address is in no known range.
    public let cloud: String
    /// The cloud's region.
    public let region: String
    /// The cluster, ``unknown`` outside our own.
    public let cluster: String
    /// The cell of the instance.
    public let cell: String
    /// The availability zone of the node.
    public let availabilityZone: String
    /// The node's name.
    public let node: String
    /// The instance that the pod belongs to.
    public let instanceID: String
    /// The pod's namespace.
    public let namespace: String
    /// The pod's name.
    public let pod: String
    /// The application.
    public let app: String
    /// The cloud's service that the address belongs to, such as `s3`.
    public let cloudService: String

    /// Makes labels of their values; what is not known stays empty.
    public init(
        cloud: String = "", region: String = "", cluster: String = EndpointLabels.unknown, cell: String = "",
        availabilityZone: String = "", node: String = "", instanceID: String = "", namespace: String = "",
        pod: String = "", app: String = "", cloudService: String = ""
    ) {
        self.cloud = cloud
        self.region = region
        self.cluster = cluster
        self.cell = cell
        self.availabilityZone = availabilityZone
        self.node = node
        self.instanceID = instanceID
        self.namespace = namespace
        self.pod = pod
        self.app = app
        self.cloudService = cloudService
    }
}
