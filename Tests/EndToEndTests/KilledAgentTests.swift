// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// Agents that are killed or replaced, with a spool directory.
extension EndToEndTests {
    /// Runs `body` with a directory that is removed afterwards.
    private func withSpoolDirectory(_ body: (_ path: String) async throws -> Void) async throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "spool-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(path)
    }

    private func kill(_ agent: ChildProcess) async throws {
        agent.signal(SIGKILL)
        #expect(try await agent.wait() == 128 + SIGKILL)
    }

    /// Expects a log without batches: only its header, at most 280 bytes.
    private func expectEmptyLog(in directory: String) throws {
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/spool")
        #expect(try #require(attributes[.size] as? UInt) <= 280)
    }

    @Test("with a spool directory, kill -9 while no server responds loses no byte older than a second")
    func anAgentKilledWithoutAServer() async throws {
        let reserved = try await FlowLedger.listen()
        let port = reserved.port
        try await reserved.stop()
        try await withSpoolDirectory { directory in
            try await Lab.run { lab in
                let settings = ["SPOOL_DIRECTORY": directory]
                let far = try await lab.startChurnServer(in: "web-1")
                let first = try await lab.startAgent(on: "node-a", serverPort: port, settings: settings)
                async let datagrams = lab.churn("udp", from: "client-1", to: "10.244.1.10", rate: 100, seconds: 3)
                async let ipv6 = lab.churn("tcp", from: "client-1", to: "fd00:244:1::10", rate: 100, seconds: 3)
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 3)
                _ = try await (datagrams, ipv6)
                let before = try #require(try await lab.countersAtRest()["node-a"]).bytes
                // One collection and one more second.
                try await Task.sleep(for: .seconds(2))
                let waiting = try await lab.metric("kubenetmon_agent_unacknowledged_bytes", on: "node-a")
                #expect(waiting >= before)
                try await kill(first)
                // Bytes counted while no agent runs stay in the kernel.
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 100, seconds: 1)

                let second = try await lab.startAgent(on: "node-a", serverPort: port, settings: settings)
                try await eventually("the batches of the first agent are restored") {
                    try await lab.metric("kubenetmon_agent_restored_bytes_total", on: "node-a") == waiting
                }
                let ledger = try await FlowLedger.listen(port: port)
                let counted = try #require(try await lab.countersAtRest()["node-a"])
                try await lab.stop(second)
                #expect(ledger.totals.tcpBytes == counted.tcpBytes && ledger.totals.udpBytes == counted.udpBytes)
                #expect(ledger.resentBatches == 0)
                try expectEmptyLog(in: directory)
                try await ledger.stop()
                far.signal(SIGKILL)
            }
        }
    }

    @Test("with a spool directory, an agent replaced while no server responds leaves its batches to its successor")
    func anAgentReplacedWithoutAServer() async throws {
        let reserved = try await FlowLedger.listen()
        let port = reserved.port
        try await reserved.stop()
        try await withSpoolDirectory { directory in
            try await Lab.run { lab in
                let settings = [
                    "SPOOL_DIRECTORY": directory, "WORKLOAD_NAME": "test/agents", "SHUTDOWN_TIMEOUT": "1s",
                ]
                let far = try await lab.startChurnServer(in: "web-1")
                let first = try await lab.startAgent(on: "node-a", serverPort: port, settings: settings)
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 2)
                let second = try await lab.startAgent(on: "node-a", serverPort: port, settings: settings)
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 2)
                try await lab.stop(first)
                #expect(first.output.contains("the spool directory keeps them for the next agent"))
                try await eventually("the second agent has restored batches from the directory") {
                    try await lab.metric("kubenetmon_agent_restored_bytes_total", on: "node-a") > 0
                }
                let ledger = try await FlowLedger.listen(port: port)
                let counted = try #require(try await lab.countersAtRest()["node-a"]).bytes
                try await eventually("everything is acknowledged") {
                    try await lab.metric("kubenetmon_agent_unacknowledged_flows", on: "node-a") == 0
                        && ledger.totals.bytes == counted
                }
                try await lab.stop(second)
                #expect(ledger.totals.bytes == counted)
                try expectEmptyLog(in: directory)
                try await ledger.stop()
                far.signal(SIGKILL)
            }
        }
    }

    @Test("agents killed while acknowledgements are slow double nothing and lose at most a second each")
    func agentsKilledAtAnyMoment() async throws {
        let ledger = try await FlowLedger.listen()
        ledger.setAcknowledging(false)
        let slowness = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: .milliseconds(700))
                ledger.setAcknowledging(true)
                ledger.setAcknowledging(false)
            }
        }
        try await withSpoolDirectory { directory in
            try await Lab.run { lab in
                let settings = ["SPOOL_DIRECTORY": directory]
                let far = try await lab.startChurnServer(in: "web-1")
                var agent = try await lab.startAgent(on: "node-a", serverPort: ledger.port, settings: settings)
                let (kills, seconds) = (6, 15.0)
                async let traffic = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: seconds)
                var restored: UInt64 = 0
                for _ in 0..<kills {
                    try await Task.sleep(for: .milliseconds(.random(in: 300...1_800)))
                    try await kill(agent)
                    agent = try await lab.startAgent(on: "node-a", serverPort: ledger.port, settings: settings)
                    restored += try await lab.metric("kubenetmon_agent_restored_batches_total", on: "node-a")
                }
                _ = try await traffic
                let counted = try #require(try await lab.countersAtRest()["node-a"]).bytes
                slowness.cancel()
                _ = await slowness.result
                ledger.setAcknowledging(true)
                try await lab.stop(agent)
                let stored = ledger.totals.bytes
                #expect(stored <= counted)
                let perSecond = Double(counted) / seconds
                #expect(Double(counted) - Double(stored) <= Double(kills) * perSecond)
                #expect(restored > 0 && ledger.resentBatches > 0)
                try expectEmptyLog(in: directory)
                far.signal(SIGKILL)
            }
        }
        try await ledger.stop()
    }
}
