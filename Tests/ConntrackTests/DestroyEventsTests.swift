// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// Everything that is heard until nothing more comes.
private func hear(_ events: inout DestroyEvents) throws -> (flows: [Flow], overruns: Int) {
    var flows: [Flow] = []
    var overruns = 0
    while true {
        let received = try events.receive { flows.append($0) }
        overruns += received.overruns
        #expect(received.malformedEvents == 0)
        if received.events == 0 && received.overruns == 0 { return (flows, overruns) }
    }
}

@Suite struct DestroyEventsTests {
    @Test(arguments: [true, false]) func anEndedConnectionTellsWhatItHasCountedSinceItWasCollected(
        isIPv4: Bool
    ) async throws {
        let (client, server) = Traffic.endpoints(isIPv4, 40_000, 53)
        let headers = UInt64(isIPv4 ? 28 : 48)
        let (collected, ended) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            var events = try DestroyEvents(FlowFilter(), receiveBufferBytes: 1 << 20, waitMilliseconds: 100)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            var table = try ConntrackTable()
            var collected: [Flow] = []
            if let error = table.collect(FlowFilter(), { collected.append($0) }).error { throw error }
            try sockets.0.send(datagram: 10, to: server, receivedBy: sockets.1)
            try sockets.1.send(datagram: 1000, to: client, receivedBy: sockets.0)
            try NetworkNamespace.shell("conntrack -D -p udp\(client.address.isIPv4 ? "" : " -f ipv6")")
            return (collected, try hear(&events).flows)
        }
        #expect(collected.map(\.bytes) == [100 + headers])
        #expect(ended.map(\.original) == collected.map(\.original))
        #expect(ended.map(\.originalCounters) == [FlowCounters(packets: 1, bytes: 10 + headers)])
        #expect(ended.map(\.replyCounters) == [FlowCounters(packets: 1, bytes: 1000 + headers)])
    }

    @Test func protocolsThatAreNotCollectedAreNotHeardOf() async throws {
        let heard = try await NetworkNamespace.run {
            let sctp = TransportProtocol(rawValue: 132)
            var events = try DestroyEvents(
                FlowFilter(transports: [.udp, sctp]), receiveBufferBytes: 1 << 20, waitMilliseconds: 100)
            try NetworkNamespace.shell(
                """
                conntrack -I -p tcp --state ESTABLISHED -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 80
                conntrack -I -p udp -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 2 --dport 53
                conntrack -I -p sctp --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 100 -s 192.0.2.1 -d 192.0.2.2 \
                    --sport 3 --dport 9
                conntrack -F
                """)
            return try hear(&events).flows.map(\.original.sourcePort).sorted()
        }
        #expect(heard == [2, 3])
    }

    @Test func whatTheBufferCannotHoldIsNotSilent() async throws {
        let (heard, overruns, room) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            var events = try DestroyEvents(FlowFilter(), receiveBufferBytes: 1 << 16, waitMilliseconds: 100)
            let server = Endpoint("198.51.100.10", 53)
            let listener = try TestSocket(.udp, at: server)
            for port in UInt16(40_000)..<40_400 {
                let client = try TestSocket(.udp, at: Endpoint("192.0.2.10", port))
                try client.send(datagram: 1, to: server, receivedBy: listener)
            }
            try NetworkNamespace.shell("conntrack -F")
            let heard = try hear(&events)
            return (heard.flows.count, heard.overruns, events.receiveBuffer)
        }
        #expect(room <= 1 << 16)
        #expect(heard > 0 && heard < 400)
        #expect(overruns >= 1)
    }
}
