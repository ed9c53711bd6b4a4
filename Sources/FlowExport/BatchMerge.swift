// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore

extension ExportBatch {
    /// Merges batches of one minute by summing the counters of each flow. The table's resolution is a minute, so
    /// nothing is lost, and fewer bytes have to be kept.
    ///
    /// The merged batches take the highest of the sequence numbers and the first batch's observation time. Only batches
    /// that were never sent may be merged: a server could already hold one that was sent.
    ///
    /// - Parameter batches: Batches of one minute, in ascending order of their sequence numbers.
    /// - Returns: Batches with the same sums in fewer bytes, in ascending order of their sequence numbers; `batches`
    ///   unchanged if merging saves nothing.
    static func merged(_ batches: [ExportBatch]) -> [ExportBatch] {
        var flows: [Flow] = []
        var indexes: [FlowIdentity: Int] = [:]
        for batch in batches {
            var message = batch.frame
            message.moveReaderIndex(forwardBy: Frame.headerLength)
            guard case .batch(let received)? = try? AgentMessage(decoding: message) else {
                preconditionFailure("cannot decode a batch that this process encoded")
            }
            received.forEach { flow in
                let identity = FlowIdentity(flow)
                if let index = indexes[identity] {
                    flows[index].originalCounters += flow.originalCounters
                    flows[index].replyCounters += flow.replyCounters
                } else {
                    indexes[identity] = flows.count
                    flows.append(flow)
                }
            }
        }
        let merged = batched(flows, likeAnyOf: batches)
        let isSmaller = merged.count <= batches.count && frameBytes(merged) < frameBytes(batches)
        return isSmaller ? merged : batches
    }

    private static func batched(_ flows: [Flow], likeAnyOf batches: [ExportBatch]) -> [ExportBatch] {
        guard let first = batches.first, let last = batches.last else { return [] }
        var chunks: [(FlowBatchBuilder.Family, ArraySlice<Flow>)] = []
        for family in [FlowBatchBuilder.Family.ipv4, .ipv6] {
            var rest = flows.filter { $0.isIPv4 == (family == .ipv4) }[...]
            while !rest.isEmpty {
                chunks.append((family, rest.prefix(FlowBatchBuilder.maximumFlows)))
                rest = rest.dropFirst(FlowBatchBuilder.maximumFlows)
            }
        }
        let firstSequence = last.sequence - UInt64(min(chunks.count, batches.count)) + 1
        return chunks.enumerated().map { offset, chunk in
            var builder = FlowBatchBuilder(family: chunk.0)
            for flow in chunk.1 { builder.append(flow) }
            var batch = builder.takeBatch(
                sequence: firstSequence + UInt64(offset), observedAtMilliseconds: first.observedAtMilliseconds)
            batch.wallLead = first.wallLead
            return batch
        }
    }

    private static func frameBytes(_ batches: [ExportBatch]) -> Int {
        batches.reduce(0) { $0 + $1.frame.readableBytes }
    }
}

/// The key by which entries of different batches are the same flow.
private struct FlowIdentity: Hashable {
    let transport: TransportProtocol
    let zone: UInt16
    let original: FlowTuple
    let reply: FlowTuple

    init(_ flow: Flow) {
        transport = flow.transport
        zone = flow.zone
        original = flow.original
        reply = flow.reply
    }
}
