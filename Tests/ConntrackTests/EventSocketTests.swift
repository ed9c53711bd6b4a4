// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowCollection
import FlowModel
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Conntrack

/// The source ports of reported connections.
private final class Ports: Sendable {
    private let ports = Mutex<[UInt16]>([])

    /// Listens on a new socket, or continues on an existing one.
    func listen(
        on socket: CInt? = nil, _ filter: FlowFilter = FlowFilter(), bytes: Int = 1 << 20
    ) throws(ConntrackError) -> DestroyEvents {
        let handle: @Sendable ([EndedConnection]) -> Void = { ended in
            self.ports.withLock { $0 += ended.map(\.flow.original.sourcePort) }
        }
        guard let socket else { return try DestroyEvents(filter, receiveBufferBytes: bytes, handle: handle) }
        return try DestroyEvents(adopting: socket, filter, receiveBufferBytes: bytes, handle: handle)
    }

    var sorted: [UInt16] { ports.withLock { $0.sorted() } }
}

@Suite struct EventSocketTests {
    /// Creates and ends connections from these ports.
    private static func end(sourcePorts: ClosedRange<UInt16>, to server: TestSocket) throws {
        for port in sourcePorts {
            let client = try TestSocket(.udp, at: Endpoint("192.0.2.10", port))
            try client.send(datagram: 1, to: Self.server, receivedBy: server)
        }
        try NetworkNamespace.shell("conntrack -F")
    }

    private static let server = Endpoint("198.51.100.10", 53)

    @Test("a process that adopts the event socket reads the unread events and all later ones")
    func adoption() async throws {
        let (before, after) = (Ports(), Ports())
        try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let server = try TestSocket(.udp, at: Self.server)
            var first: DestroyEvents? = try before.listen()
            try Self.end(sourcePorts: 4001...4002, to: server)
            while try first?.receive() ?? 0 > 0 {}
            try Self.end(sourcePorts: 4003...4004, to: server)
            let second = try after.listen(on: first?.descriptor)
            // The socket stays open when the first listener is gone.
            first = nil
            try Self.end(sourcePorts: 4005...4006, to: server)
            while try second.receive() > 0 {}
        }
        #expect(before.sorted == [4001, 4002])
        #expect(after.sorted == [4003, 4004, 4005, 4006])
    }

    @Test("a process that adopts the event socket sets its own filter, and does not shrink the receive buffer")
    func settings() async throws {
        let (events, rooms) = try await NetworkNamespace.run {
            let first = try Ports().listen()
            let sctp = FlowFilter(transports: [TransportProtocol(rawValue: 132)])
            let second = try Ports().listen(on: first.descriptor, sctp, bytes: 1 << 16)
            let third = try Ports().listen(on: first.descriptor, sctp, bytes: 1 << 21)
            try NetworkNamespace.shell(
                """
                conntrack -I -p udp -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 2 --dport 53
                conntrack -I -p sctp --state ESTABLISHED --orig-vtag 1 --reply-vtag 2 -t 100 -s 192.0.2.1 -d 192.0.2.2 \
                    --sport 3 --dport 9
                conntrack -F
                """)
            while try second.receive() > 0 {}
            return (second.statistics.events, (first.receiveBuffer, second.receiveBuffer, third.receiveBuffer))
        }
        #expect(events == 1)
        #expect(rooms.0 >= 1 << 20 && rooms.1 == rooms.0 && rooms.2 > rooms.0)
    }

    @Test("only an event socket of this network namespace passes the verification")
    func verification() async throws {
        let elsewhere = try await NetworkNamespace.run { try EventSocket.open() }
        defer { close(elsewhere) }
        let found = try await NetworkNamespace.run {
            let events = try Ports().listen()
            let proof = try EventSocket.open()
            let deaf = try NetlinkSocket()
            let others = try NetlinkSocket(groups: CUnsignedInt(NF_NETLINK_CONNTRACK_NEW))
            let route = socket(AF_NETLINK, CInt(SOCK_RAW.rawValue), CInt(NETLINK_ROUTE))
            let tcp = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            let file = open("/dev/null", O_RDONLY)
            defer { [proof, route, tcp, file].forEach { close($0) } }
            return (
                [events.descriptor, proof].map(EventSocket.isOne),
                [deaf.descriptor, others.descriptor, route, tcp, file, elsewhere, -1].map(EventSocket.isOne)
            )
        }
        #expect(found.0 == [true, true])
        #expect(found.1 == [false, false, false, false, false, false, false])
    }

    @Test("a descriptor that is no netlink socket is not adopted")
    func noSocket() throws {
        #expect(throws: ConntrackError.self) {
            _ = try Ports().listen(on: -1)
        }
    }
}
