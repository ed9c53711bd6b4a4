// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// An agent that sends what the test provides, and records the server's messages.
final class TestAgent: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    let channel: any Channel
    private let received = Mutex<[Result<ServerMessage, WireError>]>([])
    private let welcome = Mutex<Welcome?>(nil)

    private init(channel: any Channel) { self.channel = channel }

    /// Connects to a server, from a loopback address if one is given, and sends `Hello` if a node's name is given.
    ///
    /// - Parameter receiveBuffer: The size of the socket's receive buffer in bytes, if not the kernel's.
    static func connect(
        to address: SocketAddress, node: String? = nil, from source: String? = nil, receiveBuffer: Int? = nil,
        on group: MultiThreadedEventLoopGroup = .singleton
    ) async throws -> TestAgent {
        // Kept here because the pipeline drops its handlers if the server closes the connection at once.
        let made = Mutex<TestAgent?>(nil)
        var bootstrap = ClientBootstrap(group: group).connectTimeout(.hours(1))
        if let receiveBuffer { bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: receiveBuffer) }
        if let source { bootstrap = try bootstrap.bind(to: SocketAddress(ipAddress: source, port: 0)) }
        _ =
            try await bootstrap
            .channelInitializer { channel in
                let agent = TestAgent(channel: channel)
                made.withLock { $0 = agent }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(ByteToMessageHandler(FrameDecoder()), agent)
                }
            }
            .connect(to: address)
            .get()
        guard let agent = made.withLock({ $0 }) else { throw TestEnvironmentError("the channel was not initialised") }
        if let node { try await agent.send(.hello(node: node)) }
        return agent
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        let message = Result { () throws(WireError) in try ServerMessage(decoding: bytes) }
        switch message {
        case .success(.welcome(let welcome)): self.welcome.withLock { $0 = welcome }
        // The number of heartbeats depends on the machine's speed.
        case .success(.ack([], _)): break
        default: received.withLock { $0.append(message) }
        }
    }

    /// The server's answer to `Hello`.
    func welcomed() async throws -> Welcome {
        try await eventually("the server answers Hello") { self.welcome.withLock { $0 } != nil }
        return try #require(welcome.withLock { $0 })
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    /// The server's messages, without heartbeats and the answer to `Hello`.
    var messages: [ServerMessage] {
        get throws { try received.withLock { try $0.map { try $0.get() } } }
    }

    /// Sends bytes; returns when the kernel has them.
    func send(_ bytes: ByteBuffer...) async throws {
        for bytes in bytes { try await channel.writeAndFlush(bytes) }
    }

    /// Waits until the server has sent `count` messages, and returns all of its messages.
    func messages(_ count: Int) async throws -> [ServerMessage] {
        try await eventually("\(count) messages of the server have arrived") { received.withLock { $0.count } >= count }
        return try messages
    }

    /// Waits until the server has closed the connection.
    func closed() async throws { try await eventually("the connection is closed") { !self.channel.isActive } }
}

extension ByteBuffer {
    /// Returns the frame of an agent's `Hello`.
    static func hello(node: String, version: UInt32 = Hello.currentProtocolVersion) -> ByteBuffer {
        Hello(protocolVersion: version, nodeName: node, agentID: .random(), softwareVersion: "test").frame()
    }

    /// Returns the frame of a batch of these flows.
    static func batch(_ sequence: UInt64, _ flows: [Flow] = [.test(1)]) -> ByteBuffer {
        var builder = FlowBatchBuilder(family: flows.allSatisfy(\.isIPv4) ? .ipv4 : .ipv6)
        for flow in flows { builder.append(flow) }
        return builder.takeFrame(sequence: sequence, observedAtMilliseconds: 1_000 &+ sequence)
    }

    /// Returns a frame of these bytes.
    static func frame(_ message: [UInt8]) -> ByteBuffer {
        var frame = ByteBuffer(integer: UInt32(message.count))
        frame.writeBytes(message)
        return frame
    }
}

extension Flow {
    /// Returns a different flow for every number; every third one is translated.
    static func test(_ number: Int, isIPv4: Bool = true) -> Flow {
        func address(_ host: Int) -> IPAddress {
            isIPv4 ? IPAddress(v4: 0x0a00_0000 | UInt32(host)) : IPAddress(bits: 0x2001_0db8 << 96 | UInt128(host))
        }
        let original = FlowTuple(
            source: address(number), destination: address(1 << 20), sourcePort: UInt16(number & 0xffff),
            destinationPort: 443)
        var reply = original.mirrored
        if number.isMultiple(of: 3) { reply.source = address(1 << 21) }
        return Flow(
            transport: .tcp, original: original, reply: reply,
            originalCounters: FlowCounters(packets: UInt64(number), bytes: UInt64(number) * 100),
            replyCounters: FlowCounters(packets: 1, bytes: 60))
    }
}
