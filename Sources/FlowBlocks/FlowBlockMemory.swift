// SPDX-License-Identifier: Apache-2.0

import Labeling
import Synchronization

/// What a ``FlowBlock`` keeps its flows in.
///
/// A few that are not needed any more wait for another block: what the system has to clear, page by page, costs more than
/// what is written into it.
struct FlowBlockMemory: Sendable {
    var records: [FlowRecord] = []
    var ipv6Addresses: [UInt128] = []
    /// The labels that flows refer to; the first are those of no endpoint.
    var endpoints = [Self.noLabels]
    var numbers = EndpointNumbers()
    /// Whether it is worth keeping for another block.
    private var isLarge = false

    private static let noLabels = EndpointLabels(cluster: "")
    private static let maximumSpares = 2
    private static let spares = Mutex<[FlowBlockMemory]>([])

    /// Memory for so many flows, that of an earlier block where there is one.
    static func take(flows: Int) -> FlowBlockMemory {
        var memory = spares.withLock { $0.popLast() } ?? FlowBlockMemory()
        memory.records.reserveCapacity(flows)
        memory.isLarge = true
        return memory
    }

    /// Keeps memory that was taken for another block, unless there is enough.
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

    /// Forgets what waits for another block.
    static func forgetSpares() { spares.withLock { $0 = [] } }

    /// In bytes. What is only reserved for flows takes no memory. Labels are not counted: they are the index's, and shared.
    var bytes: Int {
        records.count * MemoryLayout<FlowRecord>.stride + ipv6Addresses.count * MemoryLayout<UInt128>.stride
            + endpoints.capacity * MemoryLayout<EndpointLabels>.stride + numbers.memoryBytes
    }

    /// The number of labels, which are kept from now on: whatever becomes of the endpoint, nobody else gets its place in
    /// memory.
    mutating func number(of labels: LabelsReference) -> UInt32 {
        numbers.number(of: labels.identity) {
            endpoints.append(labels.labels)
            return UInt32(endpoints.count - 1)
        }
    }
}
