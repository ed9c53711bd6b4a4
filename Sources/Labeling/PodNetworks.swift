// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The nodes' blocks of pod addresses.
///
/// Each prefix length has a table of its own: the blocks of a cluster's nodes have one or two lengths, and nodes come
/// and go one at a time.
struct PodNetworks: Sendable {
    private struct Blocks: Sendable {
        let length: Int
        let isIPv4: Bool
        /// Node numbers, by the block's first address.
        var nodes = AddressTable()
    }

    /// Longest prefix first.
    private var blocks: [Blocks] = []

    /// Returns the node whose block contains an address; of nested blocks, the smallest counts.
    func node(of address: IPAddress) -> Int32? {
        // By index: an iterator would retain and release each table.
        for index in blocks.indices where blocks[index].isIPv4 == address.isIPv4 {
            if let network = IPPrefix(containing: address, length: blocks[index].length)?.network,
                let node = blocks[index].nodes[network]
            {
                return node
            }
        }
        return nil
    }

    /// Assigns a block to a node; of several nodes with the same block, the last has it.
    mutating func insert(_ prefix: IPPrefix, ofNode node: Int32) {
        let isIPv4 = prefix.network.isIPv4
        let place =
            blocks.firstIndex { $0.length == prefix.length && $0.isIPv4 == isIPv4 }
            ?? {
                let place = blocks.firstIndex { $0.length < prefix.length } ?? blocks.count
                blocks.insert(Blocks(length: prefix.length, isIPv4: isIPv4), at: place)
                return place
            }()
        blocks[place].nodes[prefix.network] = node
    }

    /// Removes a node's block, unless another node has taken it over.
    mutating func remove(_ prefix: IPPrefix, ofNode node: Int32) {
        guard
            let place = blocks.firstIndex(where: {
                $0.length == prefix.length && $0.isIPv4 == prefix.network.isIPv4
            }), blocks[place].nodes[prefix.network] == node
        else { return }
        blocks[place].nodes[prefix.network] = nil
        if blocks[place].nodes.count == 0 { blocks.remove(at: place) }
    }
}
