// SPDX-License-Identifier: Apache-2.0

/// The label keys for a pod's application, instance and cell, in order of preference: the first that the pod has is
/// used.
public struct PodLabelMapping: Equatable, Sendable {
    /// The keys for the application's name.
    public var app: [String]
    /// The keys for the instance.
    public var instanceID: [String]
    /// The keys for the cell.
    public var cell: [String]
    /// The keys whose values are kept for rules on pods.
    public var kept: Set<String>

    /// Makes a mapping; the defaults are those of kubenetmon, which does not fill the cell.
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
