// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Foundation
import TestSupport
import Testing

@testable import Conntrack

/// The reason for exact collections: a zeroing dump loses counters at the boundaries between the kernel's messages.
@Suite struct BoundaryLossTests {
    /// The bytes in the original direction, as counted by a namespace's firewall and by one collection of its table.
    private struct Outcome: Sendable {
        var counted: UInt64
        var collected: UInt64
        var collection = ConntrackTable.Collection()
    }

    /// Makes a mixed table of TCP and UDP entries, whose messages differ in size, and collects it once.
    private func collect(
        _ body: @escaping @Sendable (_ add: (Flow) -> Void) throws -> ConntrackTable.Collection
    ) async throws -> Outcome {
        let churn = Repository.program("Churn").path
        return try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip address add 10.9.0.1/32 dev lo
                nft add counter inet t original
                nft 'add chain inet t count { type filter hook input priority 0; }'
                nft 'add rule inet t count ct direction original meta l4proto { tcp, udp } counter name original'
                ready=$(mktemp)
                \(churn) serve 8080 > "$ready" & server=$!
                until grep -q ready "$ready"; do sleep 0.05; done
                rm "$ready"
                \(churn) tcp 10.9.0.1 8080 2000 1 20000 3000
                \(churn) udp 10.9.0.1 8080 2000 1 20000 3000
                until ss -Hlnu 'sport = :8080' | awk '$2 > 0 { exit 1 }'; do sleep 0.01; done
                kill $server
                wait $server || :
                """)
            let counter = try NetworkNamespace.shell("nft list counter inet t original")
            let bytes = counter.firstMatch(of: /bytes (\d+)/).flatMap { UInt64($0.1) }
            var outcome = Outcome(counted: bytes ?? 0, collected: 0)
            outcome.collection = try body { outcome.collected += $0.originalCounters.bytes }
            return outcome
        }
    }

    @Test("an exact collection of a mixed table loses no bytes") func anExactCollectionLosesNothing() async throws {
        let outcome = try await collect { add in
            var table = try ConntrackTable(mode: .exact)
            let (collection, error) = table.collect(FlowFilter(), add)
            if let error { throw error }
            return collection
        }
        #expect(outcome.collection.entries > 3900)
        #expect(outcome.collection.lostAnswers == 0)
        #expect(outcome.collected == outcome.counted)
    }

    @Test("a zeroing dump with 4 KiB receives loses the counters at message boundaries")
    func aZeroingDumpWithSmallReceivesLosesWhatStandsAtTheirBoundaries() async throws {
        let outcome = try await collect { add in
            let socket = try NetlinkSocket()
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
            defer { buffer.deallocate() }
            var collection = ConntrackTable.Collection()
            let request = NetfilterRequest(IPCTNL_MSG_CT_GET_CTRZERO, flags: NLM_F_REQUEST | NLM_F_DUMP, sequence: 1)
            try withUnsafeBytes(of: request) { try socket.send($0, operation: "asking for a dump") }
            while true {
                var messages = NetlinkMessages(try socket.receive(into: buffer, operation: "dumping"))
                while let message = try messages.next() {
                    if message.header.nlmsg_type == UInt16(NLMSG_DONE) { return collection }
                    collection.entries += 1
                    if let attributes = message.attributes, let flow = ConntrackEntry(attributes)?.flow {
                        add(flow)
                    }
                }
            }
        }
        #expect(outcome.collection.entries > 3900)
        #expect(outcome.collected < outcome.counted)
    }

    @Test("a fast collection loses bytes and counts the boundaries at which it may")
    func aFastCollectionCountsTheBoundariesAtWhichItLoses() async throws {
        let outcome = try await collect { add in
            var table = try ConntrackTable(mode: .fast)
            let (collection, error) = table.collect(FlowFilter(), add)
            if let error { throw error }
            return collection
        }
        #expect(outcome.collected < outcome.counted)
        #expect(outcome.collection.boundaryHits > 0)
    }
}
