// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOEmbedded
import Synchronization

@testable import FlowIngest

/// A server whose time is the test's: its deadlines come when the test says so, however busy the machine is.
struct ClockedIngest {
    let server: IngestServer
    private let eventLoop: NIOAsyncTestingEventLoop
    private let sink: Box

    private final class Box: Sendable {
        let hostAddresses = Mutex<[[IPAddress]]>([])
    }

    /// Forgets batches, which are never acknowledged.
    private final class Sink: FlowSink {
        private let box: Box

        init(_ box: Box) { self.box = box }

        func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {}

        func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
            box.hostAddresses.withLock { $0.append(addresses) }
        }
    }

    /// The addresses of hosts that the sink was given.
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

    /// Opens a connection, which introduces itself where it is given a node's name.
    func connect(node: String? = nil) async throws -> Agent {
        let channel = NIOAsyncTestingChannel(loop: eventLoop)
        try await eventLoop.executeInContext { [server] in try server.accept(channel) }
        try await channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 40_000))
        channel.read()
        let agent = Agent(channel: channel)
        if let node { try await agent.send(.hello(node: node)) }
        return agent
    }

    /// Lets time pass and everything happen that is due meanwhile.
    func pass(_ time: TimeAmount) async { await eventLoop.advanceTime(by: time) }

    /// The far end of a connection.
    struct Agent {
        fileprivate let channel: NIOAsyncTestingChannel

        var isConnected: Bool { channel.isActive }

        func send(_ bytes: ByteBuffer) async throws {
            try await channel.writeInbound(bytes)
            channel.read()
        }

        /// What the server has said since the last call, heartbeats aside.
        func messages() async throws -> [ServerMessage] {
            var messages: [ServerMessage] = []
            while var frame = try await channel.readOutbound(as: ByteBuffer.self) {
                frame.moveReaderIndex(forwardBy: Frame.headerLength)
                messages.append(try ServerMessage(decoding: frame))
            }
            return messages.filter { $0 != .ack([]) }
        }
    }
}
