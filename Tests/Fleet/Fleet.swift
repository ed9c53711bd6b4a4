// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FlowExport
import FlowModel
import FlowWire
import Foundation
import Logging
import NIOCore
import NIOPosix
import Operations
import UnixSignals

/// Many agents in one process: the real exporter, with made-up flows in place of the kernel's.
///
/// Runs until SIGTERM, then waits until every batch is acknowledged, and prints what the agents have sent and what
/// became of it as a line of JSON. Exits with 1 if a batch was not acknowledged.
@main
struct Fleet: AsyncParsableCommand {
    @Option(help: "The servers' name or address.") var host: String
    @Option(help: "The servers' port.") var port: Int
    @Option(help: "The number of agents.") var agents = 200
    @Option(help: "The time between two batches of an agent, in seconds.") var interval = 1.0
    @Option(help: "The flows of a batch.") var flows = 10
    @Option(help: "The silence after which an agent leaves a server that owes it an answer, in seconds.")
    var answerTimeout: Int64 = 60
    @Option(help: "The time to wait for acknowledgements after SIGTERM, in seconds.") var drainTimeout: Int64 = 600
    @Option(help: "The node of all agents.") var node = "node-a"
    @Option(help: "The address of the pod that all flows come from.") var pod = "10.244.1.20"

    func run() async throws {
        guard let source = IPAddress(pod) else { throw ValidationError("\(pod) is not an address") }
        FileDescriptorLimit.raise()
        let group = MultiThreadedEventLoopGroup.singleton
        var logger = Logger(label: "fleet") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .error
        var fleet: [SimulatedAgent] = []
        for number in 0..<agents {
            var configuration = FlowExporter.Configuration(
                host: host, port: port, answerTimeout: .seconds(answerTimeout))
            configuration.connectTimeout = .seconds(5)
            let hello = Hello(nodeName: node, agentID: .random(), softwareVersion: "fleet")
            let exporter = FlowExporter(
                configuration: configuration, hello: hello, group: group, logger: logger)
            exporter.start()
            fleet.append(SimulatedAgent(exporter, number: UInt32(number), source: source))
        }
        try await collect(fleet)
        var report = Report(agents: agents)
        let rest = try await withThrowingTaskGroup { group in
            for agent in fleet {
                group.addTask { try await agent.exporter.drain(timeout: .seconds(drainTimeout)) }
            }
            return try await group.reduce(FlowAmount(), +)
        }
        for agent in fleet { report.add(agent.exporter.statistics) }
        print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        guard rest == FlowAmount() else { throw ExitCode(1) }
    }

    /// Lets the agents send in turn, each once an interval, until SIGTERM.
    private func collect(_ fleet: [SimulatedAgent]) async throws {
        try await withThrowingTaskGroup { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sigterm) { return }
            }
            group.addTask {
                let pause = Duration.seconds(interval / Double(fleet.count))
                var next = ContinuousClock.now
                while !Task.isCancelled {
                    for agent in fleet {
                        agent.send(flows)
                        next += pause
                        if next > .now { try? await Task.sleep(until: next, clock: .continuous) }
                    }
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }
}

/// What a fleet has sent, and what became of it.
private struct Report: Encodable {
    var agents: Int
    var sentBytes: UInt64 = 0
    var acknowledgedBytes: UInt64 = 0
    var unacknowledgedBytes: UInt64 = 0
    var connections: UInt64 = 0
    var doubtfulBatches: UInt64 = 0

    init(agents: Int) { self.agents = agents }

    mutating func add(_ statistics: FlowExporter.Statistics) {
        sentBytes += statistics.balance.allCollected.bytes
        acknowledgedBytes += statistics.balance.acknowledged.bytes
        unacknowledgedBytes += statistics.balance.unacknowledged.bytes
        connections += statistics.connections
        doubtfulBatches += statistics.doubtfulBatches
    }
}

/// An agent whose flows are made up.
private struct SimulatedAgent {
    let exporter: FlowExporter
    private let number: UInt32
    private let source: IPAddress

    init(_ exporter: FlowExporter, number: UInt32, source: IPAddress) {
        (self.exporter, self.number, self.source) = (exporter, number, source)
    }

    /// Sends the flows of one collection, unless the exporter holds as much as it may: a kernel would keep counting.
    func send(_ flows: Int) {
        guard exporter.hasRoom else { return }
        let now = UInt64(Date.now.timeIntervalSince1970 * 1000)
        var batcher = FlowBatcher(exporter: exporter, source: .scrape)
        for flow in 0..<UInt16(flows) {
            // Each agent has its own remote address, so that rows tell whose bytes are missing or doubled.
            let tuple = FlowTuple(
                source: source, destination: IPAddress(v4: 0x2d00_0000 | number), sourcePort: 10_000 + flow,
                destinationPort: 443)
            batcher.append(
                Flow(
                    transport: .tcp, original: tuple, reply: tuple.mirrored,
                    originalCounters: FlowCounters(packets: 1, bytes: .random(in: 40...1_500)),
                    replyCounters: FlowCounters(packets: 1, bytes: .random(in: 40...1_500))),
                observedAtMilliseconds: now)
        }
        batcher.flush()
    }
}
