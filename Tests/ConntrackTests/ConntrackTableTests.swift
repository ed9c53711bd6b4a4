// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// Runs one collection and returns the reported flows and the result; throws if it ended early.
private func collect(
    _ table: inout ConntrackTable, _ filter: FlowFilter = FlowFilter(), while shouldContinue: () -> Bool = { true }
) throws -> (flows: [Flow], saw: ConntrackTable.Collection) {
    var flows: [Flow] = []
    let (collection, error) = table.collect(filter, while: shouldContinue) { flows.append($0) }
    if let error { throw error }
    return (flows, collection)
}

/// Returns the packets and bytes of an nftables counter, as the reference for comparison.
private func truth(_ counter: String) throws -> FlowCounters {
    let text = try NetworkNamespace.shell("nft list counter inet t \(counter)")
    let match = try #require(text.firstMatch(of: /packets (\d+) bytes (\d+)/))
    return FlowCounters(packets: try #require(UInt64(match.1)), bytes: try #require(UInt64(match.2)))
}

@Suite struct ConntrackTableTests {
    @Test("datagrams are counted once, to the byte", arguments: ConntrackTable.Mode.allCases, [true, false])
    func datagramsAreCountedToTheByteAndOnce(mode: ConntrackTable.Mode, isIPv4: Bool) async throws {
        let (client, server) = Traffic.endpoints(isIPv4, 40_000, 53)
        let headers = UInt64(isIPv4 ? 28 : 48)
        let (first, second) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            for size in [0, 1, 100, 1000] {
                try sockets.0.send(datagram: size, to: server, receivedBy: sockets.1)
            }
            for size in [512, 20_000] {
                try sockets.1.send(datagram: size, to: client, receivedBy: sockets.0)
            }
            var table = try ConntrackTable(mode: mode)
            return (try collect(&table), try collect(&table))
        }
        let tuple = FlowTuple(
            source: client.address, destination: server.address, sourcePort: client.port,
            destinationPort: server.port)
        #expect(
            first.flows == [
                Flow(
                    transport: .udp, original: tuple, reply: tuple.mirrored,
                    originalCounters: FlowCounters(packets: 4, bytes: 1101 + 4 * headers),
                    replyCounters: FlowCounters(packets: 2, bytes: 20_512 + 2 * headers))
            ])
        #expect(second.flows == [])
        #expect(second.saw.entries == 1)
        #expect(second.saw.ignored[.idle] == 1)
    }

    @Test(
        "the counts of a TCP connection equal the firewall's", arguments: ConntrackTable.Mode.allCases, [true, false])
    func aConnectionIsCountedAsTheFirewallCountsIt(mode: ConntrackTable.Mode, isIPv4: Bool) async throws {
        let (client, server) = Traffic.endpoints(isIPv4, 40_000, 443)
        let (first, second, sent, received) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try NetworkNamespace.shell(
                """
                nft -f - <<'END'
                table inet t {
                    counter up {}
                    counter down {}
                    chain o {
                        type filter hook output priority 0
                        tcp dport 443 counter name up
                        tcp sport 443 counter name down
                    }
                }
                END
                """)
            let ends = try TestSocket.listener(at: server).connection(from: client, to: server)
            try ends.client.send(10_000, to: ends.server)
            try ends.server.send(300_000, to: ends.client)
            try TestSocket.end(ends.client, then: ends.server)
            // From here on no packets are sent.
            try eventuallyBlocking("the connection has ended") {
                try NetworkNamespace.shell("conntrack -L -p tcp")
                    .contains("TIME_WAIT")
            }
            var table = try ConntrackTable(mode: mode)
            return (try collect(&table), try collect(&table), try truth("up"), try truth("down"))
        }
        #expect(first.flows.map(\.originalCounters) == [sent])
        #expect(first.flows.map(\.replyCounters) == [received])
        #expect(sent.bytes > 10_000 && received.bytes > 300_000)
        #expect(first.flows.first?.original.destinationPort == 443)
        #expect(second.flows == [])
    }

    @Test("traffic after a collection is in the next collection", arguments: ConntrackTable.Mode.allCases)
    func whatComesAfterACollectionIsInTheNext(mode: ConntrackTable.Mode) async throws {
        let reported = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let (client, server) = Traffic.endpoints(true, 40_000, 53)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            var table = try ConntrackTable(mode: mode)
            var reported: [UInt64] = []
            for size in [100, 200, 300] {
                try sockets.0.send(datagram: size, to: server, receivedBy: sockets.1)
                reported += try collect(&table).flows.map(\.bytes)
            }
            return reported
        }
        #expect(reported == [128, 228, 328])
    }

    /// The dump of a mixed table takes many messages, at whose boundaries a zeroing dump loses counters.
    @Test("an exact collection of a mixed table reports every counter and zeroes it")
    func aMixedTableIsCollectedExactly() async throws {
        let (before, collected, after) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try Traffic.makeMixedTable()
            var table = try ConntrackTable(mode: .exact)
            return (try flowsOfTheTable(), try collect(&table), try flowsOfTheTable())
        }
        #expect(before.count == Traffic.mixed.udp + Traffic.mixed.tcp + 2 * Traffic.mixed.translatedTCP)
        #expect(collected.flows.count == before.count)
        #expect(Set(collected.flows) == before)
        #expect(collected.saw.lostAnswers == 0 && collected.saw.goneEntries == 0)
        #expect(after.allSatisfy { $0.bytes == 0 })
    }

    /// An entry at a message boundary reads zero in the original direction, or in both, and is counted as a boundary
    /// hit. All other entries are complete.
    @Test("a zeroing dump loses counters at message boundaries only, and counts these entries")
    func aDumpThatZeroesLosesCountersAtBoundariesOnly() async throws {
        let (before, collected) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try Traffic.makeMixedTable()
            var table = try ConntrackTable(mode: .fast)
            return (try flowsOfTheTable(), try collect(&table))
        }
        let halved = Set(collected.flows).subtracting(before)
        #expect(before.subtracting(collected.flows).count == collected.saw.boundaryHits)
        #expect(halved.allSatisfy { $0.originalCounters.isZero && !$0.replyCounters.isZero })
        #expect(collected.flows.count + Int(collected.saw.ignored[.idle]) == before.count)
        // 350 entries of 300 bytes fit at most 30 messages.
        #expect(before.subtracting(collected.flows).count <= 30)
    }

    @Test("entries that a filter skips are counted and keep their counters")
    func entriesThatAreLeftOutAreCountedAndGoOnCounting() async throws {
        let (first, second, later) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let (client, server) = Traffic.endpoints(false, 40_000, 53)
            let inside = (Endpoint("127.0.0.1", 40_000), Endpoint("127.0.0.1", 53))
            for (client, server) in [(client, server), inside] {
                let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
                try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            }
            var table = try ConntrackTable()
            let tcp = FlowFilter(transports: [.tcp])
            return (try collect(&table, tcp).saw, try collect(&table), try collect(&table).saw)
        }
        #expect(first.entries == 2)
        #expect(first.ignored[.transport] == 2)
        #expect(second.flows.map(\.bytes) == [148])
        #expect(second.saw.ignored[.loopback] == 1)
        #expect(later.ignored[.idle] == 1 && later.ignored[.loopback] == 1)
    }

    @Test("entries of one connection in two zones are collected as two flows", arguments: ConntrackTable.Mode.allCases)
    func theSameConnectionInTwoZonesIsTwoFlows(mode: ConntrackTable.Mode) async throws {
        let (first, second) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let (client, server) = Traffic.endpoints(true, 40_000, 53)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            try NetworkNamespace.shell(
                "nft 'add table ip z; add chain ip z o { type filter hook output priority raw; udp dport 53 ct zone set 5; }'"
            )
            try sockets.0.send(datagram: 1_000, to: server, receivedBy: sockets.1)
            var table = try ConntrackTable(mode: mode)
            return (try collect(&table), try collect(&table))
        }
        #expect(first.flows.map(\.bytes).sorted() == [128, 1_028])
        #expect(first.flows.sorted { $0.bytes < $1.bytes }.map(\.zone) == [0, 5])
        #expect(Set(first.flows.map(\.original)).count == 1)
        #expect(second.flows == [])
    }

    @Test("a collection that is cut short leaves the remaining counters to the next")
    func aCollectionThatIsCutShortLeavesTheRestToTheNext() async throws {
        let (before, first, second) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try Traffic.makeMixedTable()
            var table = try ConntrackTable()
            let before = try flowsOfTheTable()
            var messages = 0
            let first = try collect(&table) {
                messages += 1
                return messages < 3
            }
            return (before, first, try collect(&table))
        }
        #expect(first.saw.isCutShort && !second.saw.isCutShort)
        #expect(first.flows.count > 0 && first.flows.count < before.count)
        #expect(first.flows.count + second.flows.count == before.count)
        #expect(Set(first.flows + second.flows) == before)
    }

    @Test("the number of entries includes IPv4 and IPv6") func entriesOfBothFamiliesAreCounted() async throws {
        let (counts, collected) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            var table = try ConntrackTable()
            var counts = [try table.count()]
            for number in UInt16(0)..<40 {
                let (client, server) = Traffic.endpoints(number % 2 == 0, 40_000 + number, 50_000 + number)
                let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
                try sockets.0.send(datagram: 10, to: server, receivedBy: sockets.1)
            }
            counts.append(try table.count())
            let truth = try NetworkNamespace.shell("conntrack -C").split(separator: "\n").first.flatMap { Int($0) }
            counts.append(try #require(truth))
            return (counts, try collect(&table).flows)
        }
        #expect(counts == [0, 40, 40])
        #expect(collected.count { $0.isIPv4 } == 20)
        #expect(collected.count { !$0.isIPv4 } == 20)
    }

    @Test("entries created while accounting was off report no flow")
    func entriesMadeWhileAccountingWasOffReportNothing() async throws {
        let collected = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_acct=0")
            let (client, server) = Traffic.endpoints(true, 40_000, 53)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            var table = try ConntrackTable()
            return try collect(&table)
        }
        #expect(collected.flows == [])
        #expect(collected.saw.entries == 1 && collected.saw.ignored[.idle] == 1)
    }
}
