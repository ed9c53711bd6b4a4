// SPDX-License-Identifier: Apache-2.0

/// A cluster's nodes and pods, and address ranges outside it, known without a Kubernetes API.
public struct Inventory: Equatable, Sendable {
    /// The machines of the cluster; no two have the same name.
    public var nodes: [Node]
    /// The pods of the cluster; each runs on one of `nodes`, and no two share an address outside the host network.
    public var pods: [Pod]
    /// The known addresses outside the cluster; no two ranges have the same block.
    public var ranges: [CloudRange]

    /// Makes an inventory from its parts, without any check.
    public init(nodes: [Node] = [], pods: [Pod] = [], ranges: [CloudRange] = []) {
        self.nodes = nodes
        self.pods = pods
        self.ranges = ranges
    }
}
