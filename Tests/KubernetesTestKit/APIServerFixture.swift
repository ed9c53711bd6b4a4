// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A Kubernetes API server for tests of reflectors: lists, pages and watches in protobuf over HTTP or HTTPS, with the
/// rejections, ends and broken connections of a real one.
public final class APIServerFixture: Sendable {
    /// The server's settings.
    public struct Options: Sendable {
        /// The server's certificate and key in PEM files, and the authority required for clients' certificates; nil for
        /// HTTP.
        public var tls: (certificate: String, key: String, clientAuthority: String?)?
        /// The accepted tokens; nil for any or none.
        public var tokens: Set<String>?
        /// Whether the server supports streaming lists.
        public var streamsLists = true
        /// The interval of a watch's bookmarks, in milliseconds. A real server sends one a minute.
        public var bookmarkMilliseconds: Int64 = 60_000
        /// Whether a watch from a compacted version is rejected with a status; a real server sends an ERROR event.
        public var expiresWithStatus = false
        /// The port; 0 for any.
        public var port = 0
        /// The tokens of service accounts for token reviews.
        public var accounts: [String: FixtureAccount] = [:]

        /// Makes options with the defaults.
        public init() {}
    }

    private struct State {
        var cluster = FixtureCluster()
        var options: Options
        var requests: [FixtureRequest] = []
        var faults: [(kinds: Set<FixtureRequest.Kind>, resource: String?, fault: FixtureFault)] = []
        var connections: [ObjectIdentifier: any Channel] = [:]
        var connectionCount = 0
        var watches: [Int: @Sendable () -> Void] = [:]
        var nextWatch = 0
    }

    /// The server's URL, such as `https://127.0.0.1:45123`.
    public let url: String
    /// The port on which the server listens.
    public let port: Int
    private let state: Mutex<State>
    private let listener: any Channel

    /// Starts a server on the loopback interface, which lives as long as the object.
    public static func start(_ options: Options = Options()) async throws -> APIServerFixture {
        let context = try options.tls.map(Self.context)
        let holder = Holder()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    guard let server = holder.server.withLock({ $0.value }) else { return }
                    server.add(channel)
                    try channel.pipeline.syncOperations.addHandler(FixtureConnection(server: server))
                }
            }
            .bind(to: SocketAddress(ipAddress: "127.0.0.1", port: options.port)).get()
        let fixture = APIServerFixture(options, listener)
        holder.server.withLock { $0.value = fixture }
        return fixture
    }

    /// Gives connections access to the server without keeping it alive.
    private final class Holder: Sendable {
        struct Reference { weak var value: APIServerFixture? }
        let server = Mutex(Reference())
    }

    private init(_ options: Options, _ listener: any Channel) {
        port = listener.localAddress?.port ?? 0
        url = "\(options.tls == nil ? "http" : "https")://127.0.0.1:\(port)"
        state = Mutex(State(options: options))
        self.listener = listener
    }

    deinit { stop() }

    /// Closes the listener and all connections.
    public func stop() {
        listener.close(promise: nil)
        for connection in state.withLock({ Array($0.connections.values) }) { connection.close(promise: nil) }
    }

    private static func context(
        _ tls: (certificate: String, key: String, clientAuthority: String?)
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(tls.certificate).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: tls.key, format: .pem)))
        if let authority = tls.clientAuthority {
            configuration.trustRoots = .file(authority)
            configuration.certificateVerification = .noHostnameVerification
        }
        return try NIOSSLContext(configuration: configuration)
    }

    // MARK: - Control by tests

    /// Creates or changes an object, and notifies watches. `padding` is the approximate number of bytes of unused
    /// fields; `annotations` are added to those of the object's encoding.
    public func apply(_ object: some FixtureObject, padding: Int = 0, annotations: [String: String] = [:]) {
        change { $0.apply(object, padding: padding, annotations: annotations) }
    }

    /// Creates or changes objects.
    public func apply(_ objects: [some FixtureObject], padding: Int = 0) {
        change { cluster in
            for object in objects { cluster.apply(object, padding: padding) }
        }
    }

    /// Deletes an object.
    public func delete(_ object: some FixtureObject) { change { $0.delete(object) } }

    /// Adds a message, which may be malformed, to the history, as if an object had changed.
    public func insert(event type: String, resource: String, message: [UInt8]) {
        change { $0.insert(event: type, resource: resource, message: message) }
    }

    /// Discards all changes so far: a watch from an earlier version and the next page of a list are rejected with 410.
    public func compact() { change { $0.compact() } }

    /// Sets the version back, as after etcd was restored from a backup.
    public func restore(version: Int) { change { $0.restore(version: version) } }

    /// Changes the settings from now on; TLS and the port stay as they are.
    public func update(_ body: (inout Options) -> Void) { state.withLock { body(&$0.options) } }

    /// Injects a fault into the next `times` requests of these kinds.
    package func inject(
        _ fault: FixtureFault, into kinds: Set<FixtureRequest.Kind>, of resource: String? = nil, times: Int = 1
    ) {
        state.withLock { state in
            for _ in 0..<times { state.faults.append((kinds, resource, fault)) }
        }
    }

    /// Removes the faults that have not happened yet.
    public func clearFaults() { state.withLock { $0.faults = [] } }

    /// Closes all connections, as a killed server does, and waits until they are closed.
    public func closeConnections() async {
        for connection in state.withLock({ Array($0.connections.values) }) { try? await connection.close() }
    }

    /// Stops reading and sending on the present connections, as when a load balancer's backend disappears without
    /// closing them. New connections are served. Waits until the present ones are frozen.
    public func freezeConnections() async throws {
        for connection in state.withLock({ Array($0.connections.values) }) {
            try await connection.eventLoop.submit {
                connection.pipeline.syncOperations.fireUserInboundEventTriggered(Freeze())
            }.get()
        }
    }

    // MARK: - Observation by tests

    /// The requests so far.
    public var requests: [FixtureRequest] { state.withLock { $0.requests } }

    /// Returns the number of requests of a kind so far.
    public func count(_ kind: FixtureRequest.Kind) -> Int { requests.count { $0.kind == kind } }

    /// The number of open watches.
    public var openWatches: Int { state.withLock { $0.watches.count } }

    /// The number of connections so far.
    public var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// The version of the latest change.
    public var version: Int { state.withLock { $0.cluster.version } }

    // MARK: - Access by connections

    var options: Options { state.withLock { $0.options } }

    func withCluster<Result: Sendable>(_ body: (inout FixtureCluster) -> sending Result) -> Result {
        state.withLock { body(&$0.cluster) }
    }

    /// Records a request; returns the fault to inject into it, if any.
    func note(_ request: FixtureRequest) -> FixtureFault? {
        state.withLock { state in
            state.requests.append(request)
            let index = state.faults.firstIndex {
                $0.kinds.contains(request.kind) && ($0.resource ?? request.resource) == request.resource
            }
            return index.map { state.faults.remove(at: $0).fault }
        }
    }

    func addWatch(_ poke: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            state.nextWatch += 1
            state.watches[state.nextWatch] = poke
            return state.nextWatch
        }
    }

    func removeWatch(_ number: Int) { state.withLock { _ = $0.watches.removeValue(forKey: number) } }

    private func add(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        state.withLock {
            $0.connections[key] = channel
            $0.connectionCount += 1
        }
        channel.closeFuture.whenComplete { [weak self] _ in
            self?.state.withLock { _ = $0.connections.removeValue(forKey: key) }
        }
    }

    private func change(_ body: (inout FixtureCluster) -> Void) {
        let watches = state.withLock { state in
            body(&state.cluster)
            return Array(state.watches.values)
        }
        for poke in watches { poke() }
    }
}
