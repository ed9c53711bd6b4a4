// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Conntrack

/// Immediate reuse of ports beside collections without pause: entries are destroyed while they are read.
extension EndToEndTests {
    @Test("entries destroyed while a collection reads and zeroes them are counted once")
    func destructionMeetsCollection() async throws {
        let churn = Repository.program("Churn").path
        let seconds = ProcessInfo.processInfo.environment["STRESS_SECONDS"] ?? "5"
        let (counted, reported, statistics) = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                for end in 1 2; do
                    ip netns add race-$end
                    ip link add race-$end type veth peer name eth0 netns race-$end
                    ip address add 10.9.$end.1/24 dev race-$end
                    ip link set race-$end up
                    ip -n race-$end link set lo up
                    ip -n race-$end link set eth0 up
                    ip -n race-$end address add 10.9.$end.2/24 dev eth0
                    ip -n race-$end route add default via 10.9.$end.1
                done
                sysctl -qw net.ipv4.ip_forward=1
                nft -f - <<'END'
                table inet truth {
                    counter passed { }
                    chain pass {
                        type filter hook forward priority 0
                        ct state != { invalid, untracked } counter name passed
                    }
                }
                END
                """)
            defer { _ = try? NetworkNamespace.shell("ip netns delete race-1; ip netns delete race-2") }
            let reported = Atomic<UInt64>(0)
            let events = try DestroyEvents(FlowFilter(), receiveBufferBytes: 16 << 20) { ended in
                reported.add(ended.reduce(0) { $0 + $1.flow.bytes }, ordering: .relaxed)
            }
            let isOver = Atomic(false)
            let hasEnded = DispatchSemaphore(value: 0)
            Thread {
                while !isOver.load(ordering: .relaxed) {
                    events.wait(milliseconds: 10)
                    _ = try? events.receive()
                }
                hasEnded.signal()
            }.start()
            let server = try ChildProcess(
                URL(filePath: "/usr/bin/env"), ["ip", "netns", "exec", "race-2", churn, "serve", "8080"])
            while !server.output.contains("ready") { usleep(10_000) }
            let client = try ChildProcess(
                URL(filePath: "/usr/bin/env"),
                ["ip", "netns", "exec", "race-1", churn, "tcp", "10.9.2.2", "8080", "5000", seconds, "20000", "100"])
            var table = try ConntrackTable(mode: .exact, events: events)
            while client.isRunning {
                let (_, error) = table.collect(FlowFilter()) { reported.add($0.bytes, ordering: .relaxed) }
                if let error { throw error }
            }
            server.signal(SIGKILL)
            // Connections cut by the server's end still send their last packets.
            var before = ""
            while true {
                let now = try NetworkNamespace.shell("nft list counter inet truth passed")
                if now == before { break }
                before = now
                usleep(300_000)
            }
            let (_, error) = table.collect(FlowFilter()) { reported.add($0.bytes, ordering: .relaxed) }
            if let error { throw error }
            isOver.store(true, ordering: .relaxed)
            hasEnded.wait()
            while try events.receive() > 0 {}
            let counted = before.firstMatch(of: /bytes (\d+)/).flatMap { UInt64($0.1) }
            return (counted ?? 0, reported.load(ordering: .relaxed), events.statistics)
        }
        printAccuracy(truth: counted, reported: reported)
        #expect(counted > 10_000_000)
        #expect(statistics.overruns == 0 && statistics.droppedEvents == 0)
        #expect(Int64(reported) - Int64(counted) == 0)
    }
}
