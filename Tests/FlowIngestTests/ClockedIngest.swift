// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOEmbedded
import Synchronization

@testable import FlowIngest

/// A server whose clock the test advances, so that its deadlines do not depend on how busy the machine is.
struct ClockedIngest {
    let server: IngestServer
    private let eventLoop: NIOAsyncTestingEventLoop
    private let sink: Box

    private final class Box: Sendable {
        let hostAddresses = Mutex<[[IPAddress]]>([])
        let receipts = Mutex<[BatchReceipt]>([])
    }

    /// Keeps the batches' receipts, and acknowledges none.
    private final class Sink: FlowSink {
        private let box: Box

        init(_ box: Box) { self.box = box }

        func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
            box.receipts.withLock { $0.append(receipt) }
        }

        func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> { [] }

        func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
            box.hostAddresses.withLock { $0.append(addresses) }
        }
    }

    /// The receipts of the batches that the sink was given.
    var receipts: [BatchReceipt] { sink.receipts.withLock { $0 } }

    /// The host addresses that the sink was given.
    var hostAddresses: [[IPAddress]] { sink.hostAddresses.withLock { $0 } }

    static func start(_ configure: (inout IngestServer.Configuration) -> Void = { _ in }) async throws -> ClockedIngest
    {
        var configuration = IngestServer.Configuration()
        configure(&configuration)
        let eventLoop = NIOAsyncTestingEventLoop()
        let sink = Box()
        let server = try await IngestServer(
            group: eventLoop, configuration: configuration,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { _ in Sink(sink) }
        return ClockedIngest(server: server, eventLoop: eventLoop, sink: sink)
    }

    /// Opens a connection, and sends `Hello` if a node's name is given.
    func connect(node: String? = nil) async throws -> Agent {
        let channel = NIOAsyncTestingChannel(loop: eventLoop)
        try await eventLoop.executeInContext { [server] in try server.accept(channel) }
        try await channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 40_000))
        channel.read()
        let agent = Agent(channel: channel)
        if let node { try await agent.send(.hello(node: node)) }
        return agent
    }

    /// Advances the clock and runs everything that becomes due.
    func pass(_ time: TimeAmount) async { await eventLoop.advanceTime(by: time) }

    /// The agent's end of a connection.
    struct Agent {
        fileprivate let channel: NIOAsyncTestingChannel

        var isConnected: Bool { channel.isActive }

        func send(_ bytes: ByteBuffer) async throws {
            try await channel.writeInbound(bytes)
            channel.read()
        }

        /// Returns the server's messages since the last call, without heartbeats and the answer to `Hello`.
        func messages() async throws -> [ServerMessage] {
            var messages: [ServerMessage] = []
            while var frame = try await channel.readOutbound(as: ByteBuffer.self) {
                frame.moveReaderIndex(forwardBy: Frame.headerLength)
                messages.append(try ServerMessage(decoding: frame))
            }
            return messages.filter {
                if case .welcome = $0 { false } else { $0 != .ack([]) }
            }
        }
    }
}
