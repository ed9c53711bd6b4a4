// SPDX-License-Identifier: Apache-2.0

import Labeling
import Synchronization

/// The storage of a ``FlowBlock``'s flows.
///
/// Up to two are kept for later blocks after use: the system clears new memory page by page, which costs more than writing
/// the flows.
struct FlowBlockMemory: Sendable {
    var records: [FlowRecord] = []
    var ipv6Addresses: [UInt128] = []
    /// The labels that flows refer to; the first entry is that of no endpoint.
    var endpoints = [Self.noLabels]
    var numbers = EndpointNumbers()
    /// Whether the memory is worth keeping for another block.
    private var isLarge = false

    private static let noLabels = EndpointLabels([.cluster: ""])
    private static let maximumSpares = 2
    private static let spares = Mutex<[FlowBlockMemory]>([])

    /// Returns memory for `flows` flows, reusing that of an earlier block if there is any.
    static func take(flows: Int) -> FlowBlockMemory {
        var memory = spares.withLock { $0.popLast() } ?? FlowBlockMemory()
        memory.records.reserveCapacity(flows)
        memory.isLarge = true
        return memory
    }

    /// Keeps this memory for another block, unless enough is kept already.
    consuming func giveBack() {
        guard isLarge else { return }
        records.removeAll(keepingCapacity: true)
        ipv6Addresses.removeAll(keepingCapacity: true)
        endpoints.removeSubrange(1...)
        numbers.removeAll()
        Self.spares.withLock { [self] spares in
            if spares.count < Self.maximumSpares { spares.append(self) }
        }
    }

    /// Frees the memory that is kept for other blocks.
    static func forgetSpares() { spares.withLock { $0 = [] } }

    /// The memory's size in bytes. Capacity that is only reserved for flows takes no memory. Labels do not count: they
    /// belong to the index and are shared.
    var bytes: Int {
        records.count * MemoryLayout<FlowRecord>.stride + ipv6Addresses.count * MemoryLayout<UInt128>.stride
            + endpoints.capacity * MemoryLayout<EndpointLabels>.stride + numbers.memoryBytes
    }

    /// Returns the index of labels in ``endpoints``. They are retained from now on, so that no other object can get their memory
    /// address, even if the endpoint is removed.
    mutating func number(of labels: LabelsReference) -> UInt32 {
        numbers.number(of: labels.identity) {
            endpoints.append(labels.labels)
            return UInt32(endpoints.count - 1)
        }
    }
}
