// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import Secrets
import Synchronization
import TestSupport

@testable import FlowIngest

/// A listening server, and the batches and host addresses that reach its sinks.
struct TestIngest {
    let server: IngestServer
    let address: SocketAddress
    private let group: MultiThreadedEventLoopGroup
    private let box: Box

    /// A batch that has reached a sink.
    struct Delivery: Sendable {
        let node: String
        let token: BearerToken?
        let sequence: UInt64
        let observedAtMilliseconds: UInt64
        let flows: [Flow]
        let receipt: BatchReceipt
    }

    /// Addresses of a host that have reached a sink.
    struct HostAddresses: Equatable, Sendable {
        let node: String
        let addresses: [IPAddress]
        /// The number of batches that had reached sinks before.
        let batchesBefore: Int
    }

    private final class Box: Sendable {
        let deliveries = Mutex<[Delivery]>([])
        let hostAddresses = Mutex<[HostAddresses]>([])
        let withdrawn = Mutex<Set<BatchIdentity>>([])
        let givesUp = Mutex(false)
    }

    private final class Sink: FlowSink {
        private let box: Box

        init(_ box: Box) { self.box = box }

        func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
            var flows: [Flow] = []
            batch.forEach { flows.append($0) }
            let delivery = Delivery(
                node: agent.hello.nodeName, token: agent.hello.token, sequence: batch.sequence,
                observedAtMilliseconds: batch.observedAtMilliseconds, flows: flows, receipt: receipt)
            box.deliveries.withLock { $0.append(delivery) }
        }

        func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> {
            box.withdrawn.withLock { $0.formUnion(batches) }
            return box.givesUp.withLock { $0 } ? batches : []
        }

        func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {
            let told = HostAddresses(
                node: agent.hello.nodeName, addresses: addresses, batchesBefore: box.deliveries.withLock { $0.count })
            box.hostAddresses.withLock { $0.append(told) }
        }
    }

    static func start(
        helloDeadline: TimeAmount = .hours(1), host: String? = "127.0.0.1", port: Int = 0,
        group: MultiThreadedEventLoopGroup = .singleton,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        _ configure: (inout IngestServer.Configuration) -> Void = { _ in }
    ) async throws -> TestIngest {
        let box = Box()
        var configuration = IngestServer.Configuration()
        configuration.limits.helloDeadline = helloDeadline
        // Only a hang reaches a deadline that the test does not set.
        configuration.limits.handshakeDeadline = .hours(1)
        configuration.limits.idleDeadline = .hours(1)
        configuration.departureDeadline = .hours(1)
        configuration.heartbeatInterval = .hours(1)
        configure(&configuration)
        let server = try await IngestServer(
            group: group, configuration: configuration, logger: logger
        ) { _ in Sink(box) }
        return TestIngest(
            server: server, address: try await server.listen(on: host.flatMap { IPAddress($0) }, port: port),
            group: group, box: box)
    }

    /// Returns the batches that have reached the sinks, from one node's agents or from all.
    func deliveries(from node: String? = nil) -> [Delivery] {
        box.deliveries.withLock { $0.filter { node == nil || $0.node == node } }
    }

    /// Waits until `count` batches have reached the sinks, and returns all that have.
    func deliveries(_ count: Int, from node: String? = nil) async throws -> [Delivery] {
        try await eventually("\(count) batches are delivered") {
            box.deliveries.withLock { $0.count >= count && $0.count { node == nil || $0.node == node } >= count }
        }
        return deliveries(from: node)
    }

    /// The host addresses that have reached the sinks.
    var hostAddresses: [HostAddresses] { box.hostAddresses.withLock { $0 } }

    /// The batches that sinks were asked to withdraw.
    var withdrawn: Set<BatchIdentity> { box.withdrawn.withLock { $0 } }

    /// Makes the sinks give up every batch that they are asked to withdraw, or none; at first, they give up none.
    func setGivingUp(_ givesUp: Bool) { box.givesUp.withLock { $0 = givesUp } }

    /// Waits until `count` agents are connected.
    func connectedAgents(_ count: Int) async throws {
        try await eventually("\(count) agents are connected") { server.statistics.connectedAgents == count }
    }

    /// Lets every event loop run its pending work, 50 times.
    func turnLoops() async throws {
        for _ in 0..<50 {
            for eventLoop in group.makeIterator() {
                try await eventLoop.submit {}.get()
            }
        }
    }
}
