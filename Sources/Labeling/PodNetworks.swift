// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Which node gives its pods addresses of which block.
///
/// Blocks of one length are a table: the nodes of a cluster have blocks of one or two lengths, and they come and go one by
/// one.
struct PodNetworks: Sendable {
    private struct Blocks: Sendable {
        let length: Int
        let isIPv4: Bool
        /// The node's number by the block's first address.
        var nodes = AddressTable()
    }

    /// The longest first.
    private var blocks: [Blocks] = []

    /// The node in whose block an address is; of several blocks around each other, the smallest counts.
    func node(of address: IPAddress) -> Int32? {
        // By index: an iterator would count references to each table.
        for index in blocks.indices where blocks[index].isIPv4 == address.isIPv4 {
            if let network = IPPrefix(containing: address, length: blocks[index].length)?.network,
                let node = blocks[index].nodes[network]
            {
                return node
            }
        }
        return nil
    }

    /// Gives a block to a node; of several that say that it is theirs, the last has it.
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

    /// Takes a block from a node, unless another has it by now.
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
