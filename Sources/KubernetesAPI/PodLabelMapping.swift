// SPDX-License-Identifier: Apache-2.0

/// Which labels of a pod tell its application, instance and cell. Of several keys the first that the pod has counts.
public struct PodLabelMapping: Equatable, Sendable {
    /// The keys of the application's name.
    public var app: [String]
    /// The keys of the instance.
    public var instanceID: [String]
    /// The keys of the cell.
    public var cell: [String]
    /// Keys whose values are kept for rules on pods.
    public var kept: Set<String>

    /// Makes a mapping; the defaults are kubenetmon's, which fills no cell.
    public init(
        app: [String] = ["app.kubernetes.io/name", "k8s-app"], instanceID: [String] = ["control-plane-id"],
        cell: [String] = [], kept: Set<String> = []
    ) {
        self.app = app
        self.instanceID = instanceID
        self.cell = cell
        self.kept = kept
    }
}
