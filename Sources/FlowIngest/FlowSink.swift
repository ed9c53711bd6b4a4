// SPDX-License-Identifier: Apache-2.0

public import FlowWire
import NIOCore

/// Where batches go. There is one sink for each event loop, and it is only ever called on that loop.
public protocol FlowSink: AnyObject {
    /// Takes a batch. The agent keeps its copy until `receipt` is acknowledged.
    func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt)
}

/// The agent at the other end of a connection.
public struct ConnectedAgent: Sendable {
    /// How it introduced itself.
    public let hello: Hello
    /// Its address, for logs.
    public let remoteAddress: String
}

/// What an agent is owed for a batch.
public struct BatchReceipt: Sendable {
    let channel: any Channel
    let sequence: UInt64

    /// So many sequence numbers fit a frame, whatever their values: each takes ten bytes at most.
    private static let maximumPerMessage = 65_536

    /// Tells each batch's agent that ClickHouse has the batch, with one message for each connection, or several where
    /// one would be too long. Connections that are gone are passed over: their agents send the batch again. Callable
    /// from any thread.
    public static func acknowledge(_ receipts: [BatchReceipt]) {
        for (_, receipts) in Dictionary(grouping: receipts, by: { ObjectIdentifier($0.channel) }) {
            var sequences = receipts.map(\.sequence)[...]
            while !sequences.isEmpty {
                let message = ServerMessage.ack(Array(sequences.prefix(maximumPerMessage)))
                sequences = sequences.dropFirst(maximumPerMessage)
                receipts[0].channel.writeAndFlush(message.frame(), promise: nil)
            }
        }
    }
}
