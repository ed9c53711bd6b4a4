// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import TestSupport

/// A test server on 127.0.0.1. It records the messages of every connection, by kind, without the times at which they
/// were sent, and sends what the test tells it to.
final class RecordingServer: Sendable {
    /// The port, reserved from the start; until ``listen(isReading:)``, connections to it are refused.
    let port: Int
    private let socket: CInt
    private let accepted = Mutex<[Connection]>([])

    /// Reserves a port.
    init() throws {
        socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { [socket] address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard isBound else { throw TestEnvironmentError("bind: \(String(cString: strerror(errno)))") }
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    /// Reserves a port and listens on it.
    static func start() async throws -> RecordingServer {
        let server = try RecordingServer()
        try await server.listen()
        return server
    }

    /// Starts to accept connections, and to read from them if `isReading`.
    func listen(isReading: Bool = true) async throws {
        _ = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelOption(.autoRead, value: isReading)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = Connection(channel: channel)
                    try channel.pipeline.syncOperations.addHandlers(ByteToMessageHandler(FrameDecoder()), connection)
                    self.accepted.withLock { $0.append(connection) }
                }
            }
            .withBoundSocket(socket)
            .get()
    }

    /// The connections so far, closed ones included.
    var connections: [Connection] { accepted.withLock { $0 } }

    /// Waits for the connection with this number, counted from 0, and for its `Hello`. Connections without one do not
    /// count: an exporter that ends while it connects sends none.
    func connection(_ number: Int) async throws -> Connection {
        func opened() -> [Connection] { connections.filter { $0.hello != nil } }
        do {
            try await eventually("connection \(number) is open") { opened().count > number }
        } catch {
            throw TestEnvironmentError("\(error); connections with these messages: \(connections.map(\.summary))")
        }
        return opened()[number]
    }

    /// One connection of an agent.
    final class Connection: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        /// The kind of a message.
        private enum Kind {
            case hello
            case batch
            /// A message without a body.
            case heartbeat
            case hostAddresses
            case leaving
            case confirmation
            case inDoubt
            /// A message that agents do not send.
            case unreadable

            init(_ message: ByteBuffer) {
                switch try? AgentMessage(decoding: message) {
                case .hello: self = .hello
                case .batch: self = .batch
                case .hostAddresses: self = .hostAddresses
                case .leaving: self = .leaving
                case .confirmation: self = .confirmation
                case .inDoubt: self = .inDoubt
                case .unknown: self = message.readableBytes == 0 ? .heartbeat : .unreadable
                case nil: self = .unreadable
                }
            }
        }

        private let channel: any Channel
        private let received = Mutex<[(kind: Kind, bytes: ByteBuffer, time: SendTime?)]>([])

        init(channel: any Channel) { self.channel = channel }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var message = unwrapInboundIn(data)
            let time = message.readSendTime()
            let kind = Kind(message)
            received.withLock { $0.append((kind, message, time)) }
        }

        /// The kinds of the messages received, and whether the connection is open; for a failure's message.
        var summary: String {
            "\(channel.isActive ? "open" : "closed") \(received.withLock { $0.map { "\($0.kind)" } })"
        }

        /// The `Hello`, which must be the first message.
        var hello: ByteBuffer? { received.withLock { $0.first.flatMap { $0.kind == .hello ? $0.bytes : nil } } }

        /// The batches in the order of their arrival.
        var batches: [ByteBuffer] { messages(.batch) }

        /// The host addresses received, starting with those in the `Hello`.
        var hostAddresses: [[IPAddress]?] {
            get throws {
                try received.withLock { $0 }.compactMap { message -> [IPAddress]?? in
                    guard message.kind == .hello || message.kind == .hostAddresses else { return nil }
                    switch try AgentMessage(decoding: message.bytes) {
                    case .hello(let hello): return .some(hello.hostAddresses)
                    case .hostAddresses(let addresses): return addresses
                    default: return nil
                    }
                }
            }
        }

        /// The blocks that the agent has confirmed.
        var confirmations: [HeldConfirmation] {
            messages(.confirmation).compactMap { message in
                guard case .confirmation(let confirmation)? = try? AgentMessage(decoding: message) else { return nil }
                return confirmation
            }
        }

        /// The blocks that the agent has asked for.
        var doubts: [Doubt] {
            messages(.inDoubt).flatMap { message -> [Doubt] in
                guard case .inDoubt(let doubts)? = try? AgentMessage(decoding: message) else { return [] }
                return doubts
            }
        }

        /// Whether the agent has said that it leaves.
        var isLeft: Bool { !messages(.leaving).isEmpty }

        /// The number of heartbeats.
        var heartbeats: Int { messages(.heartbeat).count }

        /// Whether every message was one that agents send.
        var isReadable: Bool { messages(.unreadable).isEmpty }

        /// The times at which the messages were sent, in the order of their arrival; nil for a message without one.
        var sendTimes: [SendTime?] { received.withLock { $0.map(\.time) } }

        private func messages(_ kind: Kind) -> [ByteBuffer] {
            received.withLock { $0.compactMap { $0.kind == kind ? $0.bytes : nil } }
        }

        /// Waits until at least `count` batches have arrived, and returns all of them.
        func batches(_ count: Int) async throws -> [ByteBuffer] {
            try await eventually("\(count) batches have arrived") { self.batches.count >= count }
            return batches
        }

        func say(_ message: ServerMessage) async throws { try await say(message.frame()) }

        func say(_ bytes: ByteBuffer) async throws { try await channel.writeAndFlush(bytes) }

        /// Starts to read.
        func read() async throws { try await channel.setOption(.autoRead, value: true).get() }

        /// Cuts the connection.
        func cut() async throws { try await channel.close() }

        /// Waits until the connection is closed by either side.
        func closed() async throws { try await eventually("the connection is closed") { !self.channel.isActive } }
    }
}

extension ByteBuffer {
    /// Reads the time at which a message was sent, which agents put ahead of its body.
    fileprivate mutating func readSendTime() -> SendTime? {
        var time: SendTime?
        _ = try? AgentMessage(decoding: self, sentAt: &time)
        for tag: [UInt8] in [[0x78], [0x80, 0x01]] where readableBytesView.starts(with: tag) {
            moveReaderIndex(forwardBy: tag.count)
            while let byte = readInteger(as: UInt8.self), byte >= 0x80 {}
        }
        return time
    }
}
