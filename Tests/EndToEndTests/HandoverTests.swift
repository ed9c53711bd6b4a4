// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// Successive agents on a node, against the counters of its firewall: no byte is lost or counted twice.
extension EndToEndTests {
    /// Starts an agent and runs `body` during traffic, then compares. The traffic consists of connections with one
    /// second of TIME_WAIT, rejected connections and connections that reuse ports. `body` returns the agents that still
    /// run.
    private func expectEveryByte(
        _ body: (Lab, FlowLedger, _ first: ChildProcess) async throws -> [ChildProcess]
    ) async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            for timeout in ["time_wait", "close"] {
                try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_\(timeout)=1", in: "node-a")
            }
            let far = try await lab.startChurnServer(in: "web-1")
            let first = try await start(lab, ledger)
            async let short = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 400, seconds: 8)
            async let reused = lab.churn(
                "tcp", from: "client-1", to: "10.244.1.10", rate: 300, seconds: 8, localPorts: 20_000...20_099)
            let refused = try lab.start(
                Repository.program("Churn"), ["tcp", "10.244.1.10", "9", "300", "8", "0", "0"], in: "client-1")
            let agents = try await body(lab, ledger, first)
            let made = try await (short, reused)
            #expect(made.0 > 3100 && made.1 > 2300)
            _ = try await refused.wait()
            #expect(refused.output == "0\n")
            let counters = try await lab.countersAtRest()
            #expect(try await lab.metric("kubenetmon_agent_event_overruns_total", on: "node-a") == 0)
            for agent in agents { try await lab.stop(agent) }
            #expect(ledger.totals.bytes == counters["node-a"]?.bytes)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    private func start(_ lab: Lab, _ ledger: FlowLedger, workload: String = "test/agents") async throws -> ChildProcess
    {
        try await lab.startAgent(on: "node-a", serverPort: ledger.port, settings: ["WORKLOAD_NAME": workload])
    }

    @Test("three rolling updates with maxSurge lose no byte")
    func rollingUpdate() async throws {
        try await expectEveryByte { lab, ledger, first in
            var agent = first
            for update in 1...3 {
                let batches = ledger.totals.batches
                try await eventually("the agent has sent two more batches") { ledger.totals.batches > batches + 2 }
                // The new pod starts while the old one runs; once the new one is ready, the old one gets SIGTERM.
                let next = try await start(lab, ledger)
                #expect(next.output.contains("took over from the previous agent"), "\(update): \(next.output)")
                try await lab.stop(agent)
                #expect(agent.output.contains("standing by"))
                agent = next
            }
            return [agent]
        }
    }

    @Test("the old agent collects again after its successor ends, and no byte is lost")
    func failedUpdate() async throws {
        try await expectEveryByte { lab, ledger, agent in
            try await eventually("flows arrive") { ledger.totals.flows > 100 }
            let next = try await start(lab, ledger)
            try await eventually("the new agent is connected") { ledger.connectedAgents == 2 }
            // The new agent ends by itself here, so everything that it has read is acknowledged; a kill would lose the
            // unacknowledged part.
            try await lab.stop(next)
            try await eventually("the old agent collects again") {
                agent.output.components(separatedBy: "took over from the previous agent").count == 2
            }
            return [agent]
        }
    }

    @Test("an agent that shuts down hands over to a waiting agent of another workload")
    func handoverAtShutdown() async throws {
        try await expectEveryByte { lab, ledger, agent in
            try await eventually("flows arrive") { ledger.totals.flows > 100 }
            async let next = start(lab, ledger, workload: "test/others")
            try await eventually("the other agent waits for the lock") { agent.output.contains("another agent waits") }
            try await lab.stop(agent)
            #expect(agent.output.contains("handed over to a successor"))
            return [try await next]
        }
    }

    @Test("a second agent of another workload exits, and the first counts every byte once")
    func secondAgent() async throws {
        try await expectEveryByte { lab, ledger, agent in
            let second = try lab.start(
                Repository.program("kubenetmon-agent"), in: "node-a",
                environment: [
                    "NODE_NAME": "node-a", "WORKLOAD_NAME": "test/others",
                    "KUBENETMON_SERVER_SERVICE_HOST": Lab.serverAddress,
                    "KUBENETMON_SERVER_SERVICE_PORT": "\(ledger.port)",
                ])
            #expect(try await second.wait() == 1)
            #expect(second.output.contains("another kubenetmon-agent holds the lock"))
            return [agent]
        }
    }
}
