// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Secrets
import Sockets
import TransportSecurity

/// Opens connections to one of a server's addresses, with TLS if configured. The credentials are read from their files
/// for every connection.
final class ServerConnector: Sendable {
    /// An open connection, and the bearer token to send on it.
    struct Connection: Sendable {
        let channel: any Channel
        let token: BearerToken?
    }

    /// The inputs of a connection that are read from files or resolved by name.
    private struct Preparation: Sendable {
        let addresses: [SocketAddress]
        let tls: NIOSSLContext?
        let token: BearerToken?
    }

    /// The attempt is no longer wanted, so that no further address was tried.
    struct Abandoned: Error {}

    private let configuration: FlowExporter.Configuration
    private let eventLoop: any EventLoop
    private let tls: TLSContextSource?
    private let tokens: TokenSource?

    init(_ configuration: FlowExporter.Configuration, eventLoop: any EventLoop, logger: Logger) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        tls = configuration.tls.map { TLSContextSource($0.files, isServer: false, logger: logger) }
        tokens = configuration.token.map { TokenSource($0, interval: .zero, logger: logger) }
    }

    /// The state of the TLS files; nil for unencrypted connections.
    var statistics: TLSContextSource.Statistics? { tls?.statistics }

    /// Tries one address after another until a connection is open and, with TLS, its handshake is complete.
    ///
    /// - Parameters:
    ///   - order: The order of the addresses.
    ///   - isWanted: Returns, on the event loop, whether to try another address.
    ///   - handler: Makes the handler that receives the connection's frames.
    /// - Returns: The connection; fails with ``Abandoned`` once none is wanted.
    func connect(
        in order: ServerChoice.Order, while isWanted: @escaping @Sendable () -> Bool,
        handler: @escaping @Sendable () -> any ChannelHandler
    ) -> EventLoopFuture<Connection> {
        NIOThreadPool.singleton
            .runIfActive(eventLoop: eventLoop) { [configuration, tls, tokens] in
                Preparation(
                    addresses: try configuration.resolve(configuration.host, configuration.port),
                    tls: try tls?.refresh(), token: try tokens?.tokens().first)
            }
            .flatMap { preparation in
                self.connect(to: order(preparation.addresses)[...], preparation.tls, while: isWanted, handler)
                    .map { Connection(channel: $0, token: preparation.token) }
            }
    }

    private func connect(
        to addresses: ArraySlice<SocketAddress>, _ tls: NIOSSLContext?, while isWanted: @escaping @Sendable () -> Bool,
        _ handler: @escaping @Sendable () -> any ChannelHandler
    ) -> EventLoopFuture<any Channel> {
        guard isWanted() else { return eventLoop.makeFailedFuture(Abandoned()) }
        guard let address = addresses.first else {
            return eventLoop.makeFailedFuture(ChannelError.connectTimeout(configuration.connectTimeout))
        }
        var bootstrap = ClientBootstrap(group: eventLoop).connectTimeout(configuration.connectTimeout)
        for (option, value) in DeadPeerDetection.agentOptions(seconds: configuration.deadPeerSeconds) {
            bootstrap = bootstrap.channelOption(option, value: value)
        }
        let secured = eventLoop.makePromise(of: Void.self)
        let name = tlsName
        return
            bootstrap
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        try pipeline.addHandlers(
                            NIOSSLClientHandler(context: tls, serverHostname: name), HandshakeWatcher(secured))
                    } else {
                        secured.succeed()
                    }
                    try pipeline.addHandlers(ByteToMessageHandler(FrameDecoder()), handler())
                }
            }
            .connect(to: address)
            .flatMap { self.whenSecured($0, secured.futureResult) }
            .flatMapError { error in
                secured.fail(error)
                let rest = addresses.dropFirst()
                guard !rest.isEmpty else { return self.eventLoop.makeFailedFuture(error) }
                return self.connect(to: rest, tls, while: isWanted, handler)
            }
    }

    /// Whether a server's certificate is accepted at any of its addresses.
    var acceptsAnyAddress: Bool { configuration.tls == nil || tlsName != nil }

    /// The name that the server's certificate must contain. It is nil if only an IP address is known: NIOSSL then
    /// checks the certificate against the socket's address.
    private var tlsName: String? {
        guard let name = configuration.tls?.serverName ?? configuration.tls.map({ _ in configuration.host }) else {
            return nil
        }
        return (try? SocketAddress(ipAddress: name, port: 0)) == nil ? name : nil
    }

    private func whenSecured(
        _ channel: any Channel, _ secured: EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        let limit = configuration.connectTimeout
        let timeout = eventLoop.scheduleTask(in: limit) {
            channel.pipeline.fireErrorCaught(HandshakeTimeout(seconds: limit.nanoseconds / 1_000_000_000))
        }
        secured.whenComplete { _ in timeout.cancel() }
        return secured.map { channel }.flatMapError { error in
            channel.close(promise: nil)
            return self.eventLoop.makeFailedFuture(error)
        }
    }
}

/// The server has accepted a connection but not completed the TLS handshake in time.
struct HandshakeTimeout: Error, CustomStringConvertible {
    let seconds: Int64

    var description: String { "the server did not finish the TLS handshake within \(seconds) s" }
}

/// Completes a promise when the TLS handshake ends. Until then, errors fail the promise and go to no other handler.
private final class HandshakeWatcher: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var secured: EventLoopPromise<Void>?

    init(_ secured: EventLoopPromise<Void>) { self.secured = secured }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event { settle(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if secured == nil { context.fireErrorCaught(error) } else { settle(.failure(error)) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { settle(.failure(ChannelError.eof)) }

    private func settle(_ result: Result<Void, any Error>) {
        secured?.completeWith(result)
        secured = nil
    }
}
