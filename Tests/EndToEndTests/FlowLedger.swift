// SPDX-License-Identifier: Apache-2.0

import FlowIngest
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// A real ingest server that sums what agents send. Its acknowledgements can be switched off.
final class FlowLedger: Sendable {
    struct Totals: Sendable {
        var tcpBytes: UInt64 = 0
        var udpBytes: UInt64 = 0
        var ipv6Bytes: UInt64 = 0
        var translatedFlows = 0
        var batches = 0
        var flows = 0
        var wireBytes = 0

        var bytes: UInt64 { tcpBytes + udpBytes }
    }

    private struct State {
        var totals = Totals()
        var isAcknowledging = true
        var waiting: [BatchReceipt] = []
        var hostAddresses: [IPAddress]?
    }

    let port: Int
    private let server: IngestServer
    private let group: MultiThreadedEventLoopGroup
    private let state: StateBox

    private final class StateBox: Sendable {
        let value = Mutex(State())
    }

    private init(port: Int, server: IngestServer, group: MultiThreadedEventLoopGroup, state: StateBox) {
        self.port = port
        self.server = server
        self.group = group
        self.state = state
    }

    static func listen(port: Int = 0) async throws -> FlowLedger {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let state = StateBox()
        var logger = Logger(label: "ledger")
        logger.logLevel = .error
        let server = try await IngestServer(group: group, logger: logger) { _ in Sink(state) }
        let address = try await server.listen(on: IPAddress("0.0.0.0"), port: port)
        return FlowLedger(port: address.port ?? 0, server: server, group: group, state: state)
    }

    /// The sums of the batches received; a resent batch counts once. Only flows of the lab's pods count.
    var totals: Totals { state.value.withLock { $0.totals } }

    /// The host addresses in the latest report of an agent; nil before the first.
    var hostAddresses: [IPAddress]? { state.value.withLock { $0.hostAddresses } }

    /// The number of batches that were received again.
    var resentBatches: UInt64 { server.statistics.duplicateBatches }

    var connectedAgents: Int { server.statistics.connectedAgents }

    /// Starts or stops acknowledging; batches that have waited are acknowledged at the start.
    func setAcknowledging(_ isAcknowledging: Bool) {
        let receipts = state.value.withLock { state in
            state.isAcknowledging = isAcknowledging
            guard isAcknowledging else { return [BatchReceipt]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        BatchReceipt.acknowledge(receipts)
    }

    /// Stops accepting connections, closes the open ones and shuts down the event loop.
    func stop() async throws {
        await server.stopAccepting(reason: "test")
        await server.closeConnections()
        try await group.shutdownGracefully()
    }

    private final class Sink: FlowSink {
        private let state: StateBox

        init(_ state: StateBox) { self.state = state }

        func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
            let pods = [IPPrefix("10.244.0.0/16"), IPPrefix("fd00:244::/32")].compactMap { $0 }
            var added = Totals()
            batch.forEach { flow in
                let ends = [flow.original.source, flow.reply.source]
                guard ends.contains(where: { end in pods.contains { $0.contains(end) } }) else { return }
                added.flows += 1
                if flow.transport == .tcp { added.tcpBytes += flow.bytes } else { added.udpBytes += flow.bytes }
                if !flow.isIPv4 { added.ipv6Bytes += flow.bytes }
                if flow.isTranslated { added.translatedFlows += 1 }
            }
            let acknowledges = state.value.withLock { state in
                state.totals.batches += 1
                state.totals.flows += added.flows
                state.totals.tcpBytes += added.tcpBytes
                state.totals.udpBytes += added.udpBytes
                state.totals.ipv6Bytes += added.ipv6Bytes
                state.totals.translatedFlows += added.translatedFlows
                if !state.isAcknowledging { state.waiting.append(receipt) }
                return state.isAcknowledging
            }
            if acknowledges { BatchReceipt.acknowledge([receipt]) }
        }

        func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> { [] }

        func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
            state.value.withLock { $0.hostAddresses = addresses }
        }
    }
}
