// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A Kubernetes API server as far as reflectors see one: lists, pages and watches in protobuf over HTTP or HTTPS, with the
/// refusals, the ends and the breaks that a real one is capable of.
public final class APIServerFixture: Sendable {
    /// How it serves.
    public struct Options: Sendable {
        /// The server's certificate and key in PEM files, and the authority that clients must be of; nil for HTTP.
        public var tls: (certificate: String, key: String, clientAuthority: String?)?
        /// The tokens that it takes; nil for whatever comes.
        public var tokens: Set<String>?
        /// Whether it knows streaming lists.
        public var streamsLists = true
        /// How often a watch gets a bookmark, in milliseconds. A real server sends one a minute.
        public var bookmarkMilliseconds: Int64 = 60_000
        /// Whether a watch from a forgotten version is refused with a status; a real one sends an ERROR event.
        public var expiresWithStatus = false
        /// The port; 0 for any.
        public var port = 0
        /// The tokens of service accounts that it knows when it is asked whose they are.
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

    /// Where it listens, such as `https://127.0.0.1:45123`.
    public let url: String
    /// The port that it listens on.
    public let port: Int
    private let state: Mutex<State>
    private let listener: any Channel

    /// Starts a server on the loopback, which lives as long as the object.
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

    /// Lets connections find the server, and does not keep it.
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

    // MARK: - What a test does to it

    /// Makes or changes an object, and tells those who watch. `padding` is about how many bytes it gets of fields that
    /// nobody reads; `annotations` are its own, besides what it is encoded in.
    public func apply(_ object: some FixtureObject, padding: Int = 0, annotations: [String: String] = [:]) {
        change { $0.apply(object, padding: padding, annotations: annotations) }
    }

    /// Makes or changes objects.
    public func apply(_ objects: [some FixtureObject], padding: Int = 0) {
        change { cluster in
            for object in objects { cluster.apply(object, padding: padding) }
        }
    }

    /// Deletes an object.
    public func delete(_ object: some FixtureObject) { change { $0.delete(object) } }

    /// Puts bytes that need not be sound into the history, as if an object had changed.
    public func insert(event type: String, resource: String, message: [UInt8]) {
        change { $0.insert(event: type, resource: resource, message: message) }
    }

    /// Forgets all changes so far: a watch from an earlier version and the next page of a list are refused with 410.
    public func compact() { change { $0.compact() } }

    /// Sets the version back, as after etcd was restored from a backup.
    public func restore(version: Int) { change { $0.restore(version: version) } }

    /// Changes how it serves from now on; TLS and the port stay as they are.
    public func update(_ body: (inout Options) -> Void) { state.withLock { body(&$0.options) } }

    /// Does this to so many of the next requests of these kinds, instead of what is right.
    package func inject(
        _ fault: FixtureFault, into kinds: Set<FixtureRequest.Kind>, of resource: String? = nil, times: Int = 1
    ) {
        state.withLock { state in
            for _ in 0..<times { state.faults.append((kinds, resource, fault)) }
        }
    }

    /// Undoes the faults that have not happened yet.
    public func clearFaults() { state.withLock { $0.faults = [] } }

    /// Cuts all connections, as a server that is killed, and waits until they are.
    public func closeConnections() async {
        for connection in state.withLock({ Array($0.connections.values) }) { try? await connection.close() }
    }

    /// Neither reads nor sends on the present connections any more, as where a balancer's backend is gone without a word.
    /// New ones are served. Waits until they are frozen.
    public func freezeConnections() async throws {
        for connection in state.withLock({ Array($0.connections.values) }) {
            try await connection.eventLoop.submit {
                connection.pipeline.syncOperations.fireUserInboundEventTriggered(Freeze())
            }.get()
        }
    }

    // MARK: - What a test sees of it

    /// The requests so far.
    public var requests: [FixtureRequest] { state.withLock { $0.requests } }

    /// How many of the requests so far were of a kind.
    public func count(_ kind: FixtureRequest.Kind) -> Int { requests.count { $0.kind == kind } }

    /// Watches that are open.
    public var openWatches: Int { state.withLock { $0.watches.count } }

    /// Connections so far.
    public var connectionCount: Int { state.withLock { $0.connectionCount } }

    /// The version of the latest change.
    public var version: Int { state.withLock { $0.cluster.version } }

    // MARK: - What connections need

    var options: Options { state.withLock { $0.options } }

    func withCluster<Result: Sendable>(_ body: (inout FixtureCluster) -> sending Result) -> Result {
        state.withLock { body(&$0.cluster) }
    }

    /// Notes a request; returns what is to be done to it.
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
