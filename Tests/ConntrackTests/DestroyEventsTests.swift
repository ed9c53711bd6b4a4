// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Synchronization
import TestSupport
import Testing

@testable import Conntrack

/// The events of the calling thread's network namespace and the flows that they have reported.
final class HeardEvents {
    let events: DestroyEvents
    private let heard: Box

    private final class Box: Sendable {
        let flows = Mutex<[Flow]>([])
    }

    init(_ filter: FlowFilter = FlowFilter(), receiveBufferBytes: Int = 1 << 20) throws {
        let heard = Box()
        self.heard = heard
        events = try DestroyEvents(filter, receiveBufferBytes: receiveBufferBytes) { ended in
            heard.flows.withLock { $0 += ended.map(\.flow) }
        }
    }

    /// The flows reported so far.
    var flows: [Flow] { heard.flows.withLock { $0 } }

    /// Receives all waiting events. The kernel queues an event before the call that destroys its entry returns.
    func drain() throws -> [Flow] {
        while try events.receive() > 0 {}
        return flows
    }
}

@Suite struct DestroyEventsTests {
    @Test("a wait ends when an event arrives, and with an interruption, also one that comes before")
    func waits() async throws {
        let (client, server) = Traffic.endpoints(true, 40_000, 53)
        let ended = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let events = try HeardEvents()
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            try NetworkNamespace.shell("conntrack -D -p udp")
            events.events.wait(milliseconds: 3_600_000)
            let ended = try events.drain()
            events.events.interrupt()
            for _ in 0..<2 { events.events.wait(milliseconds: 3_600_000) }
            return ended
        }
        #expect(ended.count == 1)
    }

    @Test("the event of an ended connection has the bytes since the last collection", arguments: [true, false])
    func anEndedConnectionTellsWhatItHasCountedSinceItWasCollected(
        isIPv4: Bool
    ) async throws {
        let (client, server) = Traffic.endpoints(isIPv4, 40_000, 53)
        let headers = UInt64(isIPv4 ? 28 : 48)
        let (collected, ended) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let events = try HeardEvents()
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            var table = try ConntrackTable()
            var collected: [Flow] = []
            if let error = table.collect(FlowFilter(), { collected.append($0) }).error { throw error }
            try sockets.0.send(datagram: 10, to: server, receivedBy: sockets.1)
            try sockets.1.send(datagram: 1000, to: client, receivedBy: sockets.0)
            try NetworkNamespace.shell("conntrack -D -p udp\(client.address.isIPv4 ? "" : " -f ipv6")")
            return (collected, try events.drain())
        }
        #expect(collected.map(\.bytes) == [100 + headers])
        #expect(ended.map(\.original) == collected.map(\.original))
        #expect(ended.map(\.originalCounters) == [FlowCounters(packets: 1, bytes: 10 + headers)])
        #expect(ended.map(\.replyCounters) == [FlowCounters(packets: 1, bytes: 1000 + headers)])
    }

    @Test("events of protocols that are not collected never reach the socket")
    func protocolsThatAreNotCollectedAreNotHeardOf() async throws {
        let heard = try await NetworkNamespace.run {
            let sctp = TransportProtocol(rawValue: 132)
            let events = try HeardEvents(FlowFilter(transports: [.udp, sctp]))
            try NetworkNamespace.shell(
                """
                conntrack -I -p tcp --state ESTABLISHED -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 80
                conntrack -I -p udp -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 2 --dport 53
                conntrack -I -p sctp --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 100 -s 192.0.2.1 -d 192.0.2.2 \
                    --sport 3 --dport 9
                conntrack -F
                """)
            _ = try events.drain()
            return events.events.statistics
        }
        // Entries created by `conntrack` have counted nothing.
        #expect(heard.events == 2 && heard.ignored[.idle] == 2)
    }

    @Test("events that the kernel drops are counted exactly, and their bytes are estimated")
    func dropsAreCounted() async throws {
        let sent = 2000
        let (statistics, heard, room) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let events = try HeardEvents(receiveBufferBytes: 1 << 16)
            let server = Endpoint("198.51.100.10", 53)
            let listener = try TestSocket(.udp, at: server)
            for port in 0..<UInt16(sent) {
                let client = try TestSocket(.udp, at: Endpoint("192.0.2.10", 40_000 + port))
                try client.send(datagram: 100, to: server, receivedBy: listener)
            }
            try NetworkNamespace.shell("conntrack -F")
            let heard = try events.drain()
            return (events.events.statistics, heard, events.events.receiveBuffer)
        }
        #expect(room <= 1 << 16)
        #expect(!heard.isEmpty && heard.count < sent)
        #expect(statistics.overruns >= 1)
        #expect(heard.count + Int(statistics.droppedEvents) == sent)
        #expect(statistics.droppedBytesEstimate == statistics.droppedEvents * 128)
    }

    @Test("a malformed datagram does not affect the events before and after it")
    func malformedDatagrams() async throws {
        let (client, server) = Traffic.endpoints(true, 40_000, 53)
        let (statistics, heard) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let events = try HeardEvents()
            let listener = try TestSocket(.udp, at: server)
            func destroyOne(_ port: UInt16) throws {
                let sender = try TestSocket(.udp, at: Endpoint("192.0.2.10", port))
                try sender.send(datagram: 100, to: server, receivedBy: listener)
                try NetworkNamespace.shell("conntrack -D -p udp --sport \(port)")
            }
            try destroyOne(client.port)
            // Another process with CAP_NET_ADMIN may multicast to the group. Only datagrams from the kernel are
            // decoded.
            let forger = try Forger(toGroups: UInt32(NF_NETLINK_CONNTRACK_DESTROY))
            let sender = try TestSocket(.udp, at: Endpoint("192.0.2.10", 39_999))
            try sender.send(datagram: 100, to: server, receivedBy: listener)
            var event = try #require(try rawDump().first)
            event[4] = UInt8(IPCTNL_MSG_CT_DELETE.rawValue)
            forger.send(bytes: event)
            // A length beyond the end of the datagram.
            event[0] &+= 4
            forger.send(bytes: event)
            try destroyOne(client.port + 1)
            let heard = try events.drain()
            return (events.events.statistics, heard)
        }
        #expect(heard.map(\.bytes) == [128, 128])
        #expect(heard.map(\.original.sourcePort) == [client.port, client.port + 1])
        #expect(statistics.events == 2 && statistics.foreignDatagrams == 2 && statistics.malformedEvents == 0)
    }

    @Test("entries older than the listener send an event if nf_conntrack_events is 1")
    func entriesOlderThanTheListener() async throws {
        let (client, server) = Traffic.endpoints(true, 40_000, 53)
        let heard = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_events=1")
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            let events = try HeardEvents()
            try NetworkNamespace.shell("conntrack -D -p udp")
            return try events.drain().map(\.bytes)
        }
        #expect(heard == [128])
    }
}
