// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

/// The agent against the kernel's counters: a server gets what node-a's firewall has counted, to the byte.
extension EndToEndTests {
    /// Runs an agent on node-a during `body` and compares. The agent must report all that was counted before it ends;
    /// it may also report packets that arrive during its shutdown.
    private func expectEveryByte(
        settings: [String: String] = [:], agentFirst: Bool = true,
        _ prepare: (Lab) async throws -> Void = { _ in },
        _ body: (Lab, FlowLedger) async throws -> Void
    ) async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            try await prepare(lab)
            let agent = try await lab.startAgent(on: "node-a", serverPort: ledger.port, settings: settings)
            try await body(lab, ledger)
            let counters = try await lab.countersAtRest()
            let counted = try #require(counters["node-a"])
            let overruns = try await lab.metric("kubenetmon_agent_event_overruns_total", on: "node-a")
            let lost = try await lab.metric(
                "kubenetmon_agent_lost_bytes_total{reason=\"spool_full\"}", on: "node-a")
            let lostAnswers = try await lab.metric(
                "kubenetmon_agent_lost_flows_total{reason=\"answer_lost\"}", on: "node-a")
            try await lab.stop(agent)
            let last = try #require(try await lab.countersAtRest()["node-a"])
            printAccuracy(truth: counted.bytes, reported: ledger.totals.bytes)
            #expect((overruns, lost, lostAnswers) == (0, 0, 0))
            #expect((counted.tcpBytes...last.tcpBytes).contains(ledger.totals.tcpBytes), "\(counted) \(ledger.totals)")
            #expect((counted.udpBytes...last.udpBytes).contains(ledger.totals.udpBytes), "\(counted) \(ledger.totals)")
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test(
        "every byte of short TCP connections with one second of TIME_WAIT is reported",
        arguments: [(200, 5.0), (2000, 5.0)])
    func shortConnectionsWithOneSecondOfTimeWait(rate: Int, seconds: Double) async throws {
        try await expectEveryByte { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_close=1", in: "node-a")
        } _: { lab, _ in
            let made = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: rate, seconds: seconds)
            #expect(made == Int(Double(rate) * seconds))
        }
    }

    @Test("every byte of UDP exchanges with two seconds of timeout is reported")
    func datagramsWithTwoSecondsOfTimeout() async throws {
        try await expectEveryByte { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_udp_timeout=2", in: "node-a")
            try await lab.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream=2", in: "node-a")
        } _: { lab, ledger in
            _ = try await lab.churn("udp", from: "client-1", to: "10.244.1.10", rate: 500, seconds: 6)
            #expect(ledger.totals.udpBytes > 0)
        }
    }

    @Test("every byte is reported when clients reuse their ports at once")
    func clientsThatUseTheirPortsAgainAtOnce() async throws {
        // With default timeouts, a SYN replaces an entry in TIME_WAIT.
        try await expectEveryByte { lab, _ in
            let made = try await lab.churn(
                "tcp", from: "client-1", to: "10.244.1.10", rate: 400, seconds: 5, localPorts: 20_000...20_099)
            #expect(made > 100, "too few connections reused a port")
        }
    }

    @Test("every byte is reported of UDP, IPv6 and TCP to a service address, all at once")
    func mixedTrafficOfBothFamiliesThroughTranslation() async throws {
        try await expectEveryByte { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
        } _: { lab, ledger in
            // web-2 also serves the service address 10.96.0.80.
            let other = try await lab.startChurnServer(in: "web-2")
            async let service = lab.churn("tcp", from: "client-1", to: "10.96.0.80", port: 80, rate: 200, seconds: 4)
            async let ipv6 = lab.churn("tcp", from: "client-1", to: "fd00:244:1::10", rate: 100, seconds: 4)
            async let datagrams = lab.churn("udp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 4)
            let made = try await (service, ipv6, datagrams)
            #expect(made.0 == 800 && made.1 == 400 && made.2 > 0)
            other.signal(SIGKILL)
            try await eventually("flows of every kind arrive") {
                ledger.totals.ipv6Bytes > 0 && ledger.totals.translatedFlows > 0
            }
        }
    }

    @Test("no packet in the test bed waits for its neighbour's link address") func knownNeighbours() async throws {
        try await Lab.run { lab in
            let servers = ["web-1", "web-2", "outside"]
            var running: [ChildProcess] = []
            for server in servers { running.append(try await lab.startChurnServer(in: server)) }
            for client in ["client-1", "client-2"] {
                for address in [
                    "10.244.1.10", "fd00:244:1::10", "10.244.2.10", "fd00:244:2::10", "198.51.100.10",
                ] {
                    #expect(try await lab.churn("tcp", from: client, to: address, rate: 10, seconds: 0.1) == 1)
                }
            }
            // Link-local addresses are learned from router solicitations, which delay no packet.
            let asked = try await ChildProcess.shell(
                """
                for namespace in node-a node-b web-1 web-2 client-1 client-2 outside; do
                    ip -n $namespace neighbour show | grep -v -e PERMANENT -e '^fe80:' | sed "s/^/$namespace: /" || :
                done
                """)
            #expect(asked == "")
            for server in running { server.signal(SIGKILL) }
        }
    }

    @Test("every byte is reported after a server was unreachable") func aServerThatIsAwayForAWhile() async throws {
        let ledger = try await FlowLedger.listen()
        let port = ledger.port
        try await ledger.stop()
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(on: "node-a", serverPort: port)
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 3)
            let late = try await FlowLedger.listen(port: port)
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 2)
            let counters = try await lab.countersAtRest()
            try await lab.stop(agent)
            printAccuracy(truth: counters["node-a"]?.bytes ?? 0, reported: late.totals.bytes)
            #expect(late.totals.bytes == counters["node-a"]?.bytes)
            try await late.stop()
            far.signal(SIGKILL)
        }
    }

    @Test("every byte is reported when the agent is stopped and started under traffic")
    func anAgentThatIsStoppedAndStartedInTheMiddle() async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let first = try await lab.startAgent(on: "node-a", serverPort: ledger.port)
            async let traffic = lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 200, seconds: 6)
            try await eventually("flows arrive") { ledger.totals.flows > 100 }
            try await lab.stop(first)
            let second = try await lab.startAgent(on: "node-a", serverPort: ledger.port)
            try await eventually("the node's address is reported") {
                ledger.hostAddresses?.contains { $0.description == "172.18.0.2" } == true
            }
            _ = try await traffic
            let counters = try await lab.countersAtRest()
            try await lab.stop(second)
            printAccuracy(truth: counters["node-a"]?.bytes ?? 0, reported: ledger.totals.bytes)
            #expect(ledger.totals.bytes == counters["node-a"]?.bytes)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test("with a full spool, every byte is reported or counted as lost")
    func atTheBoundTheKernelIsTheSpoolAndWhatDoesNotFitIsCounted() async throws {
        let ledger = try await FlowLedger.listen()
        ledger.setAcknowledging(false)
        try await Lab.run { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: ledger.port, settings: ["SPOOL_BYTES": "131072"])
            // A flow takes about 25 bytes: 128 KiB hold some 5,000. One collection exceeds the bound by what has come
            // since the one before, however long ago that was. The loop therefore waits for a turn to collect after
            // every 1,000 flows.
            let deferrals = "kubenetmon_agent_deferred_collections_total"
            func turns() async throws -> UInt64 {
                try await lab.metric("kubenetmon_agent_collections_total", on: "node-a")
                    + lab.metric(deferrals, on: "node-a")
            }
            try await eventually("a collection is deferred") {
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 2000, seconds: 0.5)
                let before = try await turns()
                try await eventually("the agent's next turn to collect has come") { try await turns() > before }
                return try await lab.metric(deferrals, on: "node-a") > 0
            }
            // An expired entry sends its DESTROY event only when a dump reaps it, whichever program requests the dump.
            let lostBytes = "kubenetmon_agent_lost_bytes_total{reason=\"spool_full\"}"
            try await eventually("ended connections no longer fit into the spool") {
                _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 2000, seconds: 0.5)
                try await ChildProcess.shell("ip netns exec node-a conntrack -L >/dev/null 2>&1")
                return try await lab.metric(lostBytes, on: "node-a") > 0
            }
            let counters = try await lab.countersAtRest()
            let waiting = try await lab.metric("kubenetmon_agent_unacknowledged_frame_bytes", on: "node-a")
            #expect(waiting <= 131_072 + 110_000)
            ledger.setAcknowledging(true)
            try await eventually("the agent has sent everything") {
                try await lab.metric("kubenetmon_agent_unacknowledged_frame_bytes", on: "node-a") == 0
            }
            let lost = try await lab.metric(lostBytes, on: "node-a")
            let overruns = try await lab.metric("kubenetmon_agent_event_overruns_total", on: "node-a")
            try await lab.stop(agent)
            #expect(overruns == 0)
            printAccuracy(truth: counters["node-a"]?.bytes ?? 0, reported: ledger.totals.bytes, lost: lost)
            #expect(ledger.totals.bytes + lost == counters["node-a"]?.bytes)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test("every byte is reported when batches of a minute are merged under pressure")
    func underPressureBatchesOfAMinuteBecomeOne() async throws {
        let ledger = try await FlowLedger.listen()
        let port = ledger.port
        try await ledger.stop()
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: port,
                settings: ["SPOOL_BYTES": "1048576", "COLLECTION_INTERVAL": "200ms"])
            // Every collection finds the same few connections.
            try await eventually("each connection has been collected several times") {
                _ = try await lab.churn(
                    "udp", from: "client-1", to: "10.244.1.10", rate: 6000, seconds: 1, localPorts: 20_000...20_999)
                return try await lab.metric("kubenetmon_agent_collected_flows_total", on: "node-a") >= 40_000
            }
            let waiting = try await lab.metric("kubenetmon_agent_unacknowledged_frame_bytes", on: "node-a")
            // Without merging: 40,000 flows of 25 bytes.
            #expect(waiting < 600_000)
            let late = try await FlowLedger.listen(port: port)
            let counters = try await lab.countersAtRest()
            try await lab.stop(agent)
            printAccuracy(truth: counters["node-a"]?.bytes ?? 0, reported: late.totals.bytes)
            #expect(late.totals.bytes == counters["node-a"]?.bytes)
            try await late.stop()
            far.signal(SIGKILL)
        }
    }

    @Test("every byte is reported after a stall of the agent, and ended connections leave the table")
    func aStalledAgentDoesNotKeepEndedConnectionsInTheTable() async throws {
        let entries = "ip netns exec node-a cat /proc/sys/net/netfilter/nf_conntrack_count"
        try await expectEveryByte { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
        } _: { lab, _ in
            try await ChildProcess.shell("pkill -STOP -f 'debug/kubenetmon-agent$'")
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 500, seconds: 2)
            // A dump by another program reaps expired entries.
            try await eventually("the entries are gone") {
                try await ChildProcess.shell("ip netns exec node-a conntrack -L >/dev/null 2>&1")
                return Int(try await ChildProcess.shell(entries).filter(\.isNumber)) ?? .max < 50
            }
            try await ChildProcess.shell("pkill -CONT -f 'debug/kubenetmon-agent$'")
        }
    }

    @Test("every byte is reported when the agent leaves a server that sends no acknowledgements")
    func aServerThatSaysNothingIsLeft() async throws {
        let ledger = try await FlowLedger.listen()
        ledger.setAcknowledging(false)
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: ledger.port, settings: ["SERVER_ANSWER_TIMEOUT": "2s"])
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 50, seconds: 1)
            try await eventually("a batch is sent again") { ledger.resentBatches > 0 }
            ledger.setAcknowledging(true)
            let counters = try await lab.countersAtRest()
            try await lab.stop(agent)
            printAccuracy(truth: counters["node-a"]?.bytes ?? 0, reported: ledger.totals.bytes)
            #expect(ledger.totals.bytes == counters["node-a"]?.bytes)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test("a second SIGTERM ends the agent at once") func aSecondSignalEndsTheAgentAtOnce() async throws {
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            // Nothing listens on port 1.
            let agent = try await lab.startAgent(on: "node-a", serverPort: 1)
            _ = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 50, seconds: 1)
            agent.signal(SIGTERM)
            try await eventually("the agent shuts down") { agent.output.contains("collecting one last time") }
            agent.signal(SIGTERM)
            #expect(try await agent.wait() == 143)
            far.signal(SIGKILL)
        }
    }

    @Test("SIGTERM ends the agent while connections go on ending")
    func stoppingUnderTraffic() async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(on: "node-a", serverPort: ledger.port)
            let client = try lab.start(
                Repository.program("Churn"), ["tcp", "10.244.1.10", "8080", "100", "600", "0", "0"], in: "client-1")
            try await eventually("100 connections have ended") {
                try await lab.metric("kubenetmon_agent_events_total", on: "node-a") > 100
            }
            try await lab.stop(agent)
            #expect(client.isRunning)
            #expect(ledger.totals.flows > 100)
            client.signal(SIGKILL)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test("the self-check fails while another program zeroes counters")
    func anotherReader() async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: ledger.port, settings: ["COLLECTION_INTERVAL": "1s"])
            // Long-lived connections: the same few ports again and again.
            let client = try lab.start(
                Repository.program("Churn"), ["udp", "10.244.1.10", "8080", "500", "600", "20000", "20"],
                in: "client-1")
            func check() async throws -> UInt64 {
                try await lab.metric("kubenetmon_agent_self_check{check=\"sole_reader\"}", on: "node-a")
            }
            try await eventually("four collections have run") {
                try await lab.metric("kubenetmon_agent_collections_total", on: "node-a") > 4
            }
            #expect(try await check() == 1)
            try await eventually("the agent notices the other reader") {
                try await ChildProcess.shell("ip netns exec node-a conntrack -L -z >/dev/null 2>&1")
                return try await check() == 0
            }
            #expect(try await lab.metric("kubenetmon_agent_foreign_resets_total", on: "node-a") > 0)
            #expect(agent.output.contains("another program zeroes counters"))
            client.signal(SIGKILL)
            try await lab.stop(agent)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }

    @Test("events that the kernel drops are counted, and their bytes are estimated")
    func droppedEvents() async throws {
        let ledger = try await FlowLedger.listen()
        try await Lab.run { lab in
            try await lab.sysctl("net.netfilter.nf_conntrack_tcp_timeout_time_wait=1", in: "node-a")
            let far = try await lab.startChurnServer(in: "web-1")
            let agent = try await lab.startAgent(
                on: "node-a", serverPort: ledger.port, settings: ["EVENT_BUFFER_BYTES": "262144"])
            try await ChildProcess.shell("pkill -STOP -f 'debug/kubenetmon-agent$'")
            let made = try await lab.churn("tcp", from: "client-1", to: "10.244.1.10", rate: 500, seconds: 4)
            // A dump by another program reaps expired entries.
            try await eventually("the entries are gone") {
                let count = try await ChildProcess.shell(
                    "ip netns exec node-a sh -c 'conntrack -L >/dev/null 2>&1; cat /proc/sys/net/netfilter/nf_conntrack_count'"
                )
                return Int(count.filter(\.isNumber)) ?? .max < 50
            }
            try await ChildProcess.shell("pkill -CONT -f 'debug/kubenetmon-agent$'")
            let counters = try await lab.countersAtRest()
            let dropped = try await lab.metric(
                "kubenetmon_agent_lost_flows_total{reason=\"event_overrun\"}", on: "node-a")
            let estimate = try await lab.metric(
                "kubenetmon_agent_lost_bytes_total{reason=\"event_overrun_estimate\"}", on: "node-a")
            try await lab.stop(agent)
            let truth = try #require(counters["node-a"]).bytes
            printAccuracy(truth: truth, reported: ledger.totals.bytes, lost: estimate)
            #expect(dropped > 0 && dropped < UInt64(made))
            // The mean of some 200 events with sizes from 0 to 12,000 has a standard error of 4 %.
            #expect(abs(Double(ledger.totals.bytes + estimate) / Double(truth) - 1) < 0.25)
            far.signal(SIGKILL)
        }
        try await ledger.stop()
    }
}
