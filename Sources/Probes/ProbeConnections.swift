// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import Sockets

/// The connections of a probe server, on its event loop.
final class ProbeConnections {
    private let limits: ProbeLimits
    private let responder: ProbeResponder
    private var table: ProbeConnectionTable<ObjectIdentifier, any Channel>

    init(_ limits: ProbeLimits, _ responder: ProbeResponder) {
        self.limits = limits
        self.responder = responder
        table = ProbeConnectionTable(maximum: limits.connections)
    }

    /// Admits a connection, and evicts another one if there are too many.
    func open(_ channel: any Channel) throws {
        let id = ObjectIdentifier(channel)
        if let evicted = table.insert(id, channel, from: channel.remoteAddress?.source ?? "unknown") {
            responder.evictedConnections += 1
            evicted.close(promise: nil)
        }
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.table.remove(id) }
        var decoderLimits = NIOHTTPDecoderLimitConfiguration()
        decoderLimits.maxHeaderFieldSize = limits.headerBytes
        decoderLimits.maxHeaderListSize = limits.headerBytes
        decoderLimits.maxHeaderFieldCount = limits.headerFields
        try channel.pipeline.syncOperations.addHandlers(
            ByteToMessageHandler(
                HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoderLimits)))
        try channel.pipeline.syncOperations.addHandlers(
            HTTPResponseEncoder(), ProbeConnectionHandler(responder, limits))
    }
}

/// The open connections, and the choice of the one to evict for a new one.
struct ProbeConnectionTable<ID: Equatable, Connection> {
    private struct Entry {
        let id: ID
        let connection: Connection
        let source: String
    }

    private let maximum: Int
    /// From the oldest to the newest.
    private var entries: [Entry] = []

    init(maximum: Int) { self.maximum = maximum }

    /// Adds a connection.
    ///
    /// - Returns: The connection to evict if there are too many: the oldest of the address that has the most. A peer
    ///   that takes all places thus loses its own connections and not the kubelet's.
    mutating func insert(_ id: ID, _ connection: Connection, from source: String) -> Connection? {
        entries.append(Entry(id: id, connection: connection, source: source))
        guard entries.count > maximum else { return nil }
        let counts = entries.reduce(into: [:]) { $0[$1.source, default: 0] += 1 }
        let most = counts.values.max() ?? 0
        guard let index = entries.firstIndex(where: { counts[$0.source] == most }) else { return nil }
        return entries.remove(at: index).connection
    }

    /// Removes a closed connection; does nothing if it was evicted before.
    mutating func remove(_ id: ID) { entries.removeAll { $0.id == id } }
}
