// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import Kubernetes

/// Which pod or node of the cluster has an address.
public struct EndpointIndex: Sendable {
    /// A node's number in this index, compared instead of its name.
    public struct NodeID: Hashable, Sendable {
        let number: Int32
    }

    /// A pod or a node.
    struct Endpoint: Sendable {
        let nodeID: NodeID
        /// Whether the address is a node's: its own, or that of a pod in its host network.
        let isNode: Bool
        let labels: EndpointLabels
    }

    private var endpoints: [IPAddress: Endpoint] = [:]
    private var nodeIDs: [String: NodeID] = [:]

    /// Indexes an inventory, whose endpoints all stand at `site`.
    public init(_ inventory: Inventory, site: Site) {
        var zones: [String: String] = [:]
        for (number, node) in inventory.nodes.enumerated() {
            let id = NodeID(number: Int32(number))
            nodeIDs[node.name] = id
            zones[node.name] = node.zone
            let labels = EndpointLabels(
                cloud: site.cloud, region: site.region, cluster: site.cluster, availabilityZone: node.zone,
                node: node.name)
            for address in node.addresses {
                endpoints[address] = Endpoint(nodeID: id, isNode: true, labels: labels)
            }
        }
        for pod in inventory.pods where !pod.hostNetwork {
            guard let nodeID = nodeIDs[pod.node] else { continue }
            let labels = EndpointLabels(
                cloud: site.cloud, region: site.region, cluster: site.cluster, cell: pod.cell,
                availabilityZone: zones[pod.node] ?? "", node: pod.node, instanceID: pod.instanceID,
                namespace: pod.namespace, pod: pod.name, app: pod.app)
            for address in pod.addresses {
                endpoints[address] = Endpoint(nodeID: nodeID, isNode: false, labels: labels)
            }
        }
    }

    /// The node of this name, nil where the index does not know it.
    public func nodeID(named name: String) -> NodeID? { nodeIDs[name] }

    func endpoint(at address: IPAddress) -> Endpoint? { endpoints[address] }
}
