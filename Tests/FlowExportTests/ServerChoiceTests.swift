// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Testing

@testable import FlowExport

@Suite struct ServerChoiceTests {
    private static let addresses = (1...3 as ClosedRange<UInt32>).compactMap { host in
        try? SocketAddress(packedIPAddress: ByteBuffer(integer: 0xc000_0200 | host), port: 8884)
    }

    private func welcome(_ address: String, port: UInt16 = 8884) throws -> Welcome {
        Welcome(serverID: 1, address: try #require(IPAddress(address)), port: port)
    }

    @Test("each attempt begins at the next address")
    func turns() {
        var choice = ServerChoice(start: 0)
        let orders = (0..<4).map { _ in choice.nextOrder()(Self.addresses) }
        let (first, second, third) = (Self.addresses[0], Self.addresses[1], Self.addresses[2])
        #expect(orders == [[second, third, first], [third, first, second], [first, second, third], orders[0]])
    }

    /// Connects to an address, is admitted, and loses the connection.
    private func connect(
        _ choice: inout ServerChoice, isOwed: Bool = true, isSilent: Bool = false, own: Welcome? = nil
    ) throws {
        choice.opened(to: Self.addresses[2])
        choice.welcomed(by: try own ?? welcome("192.0.2.3"))
        choice.closed(isOwed: isOwed, isSilent: isSilent)
    }

    @Test("a server that owes acknowledgements is tried first, and the others after it, until a connection is open")
    func returns() throws {
        var choice = ServerChoice(start: 0)
        try connect(&choice)
        for _ in 0..<100 {
            let order = choice.nextOrder()(Self.addresses)
            #expect(order.first == Self.addresses[2] && Set(order) == Set(Self.addresses) && order.count == 3)
        }
        try connect(&choice, isOwed: false)
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("a server is not tried first if it owes nothing or was left for its silence", arguments: [true, false])
    func others(isOwed: Bool) throws {
        var choice = ServerChoice(start: 0)
        try connect(&choice, isOwed: isOwed, isSilent: isOwed)
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("a server that does not admit the agent holds nothing, and is tried first twice at most")
    func rejections() throws {
        var choice = ServerChoice(start: 0)
        choice.opened(to: Self.addresses[1])
        choice.closed(isOwed: true, isSilent: false)
        #expect(choice.nextOrder().holder == nil)
        try connect(&choice)
        for address in [Self.addresses[1], Self.addresses[1], Self.addresses[2], Self.addresses[2]] {
            #expect(choice.nextOrder().holder == Self.addresses[2])
            choice.opened(to: address)
            choice.closed(isOwed: true, isSilent: false)
        }
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("a server that accepts connections and says nothing is tried first once")
    func silence() throws {
        var choice = ServerChoice(start: 0)
        try connect(&choice)
        choice.opened(to: Self.addresses[2])
        choice.closed(isOwed: true, isSilent: true)
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("the server's own address goes before the one connected to, which may be that of a Service")
    func ownAddress() throws {
        for (own, port) in [("10.1.0.7", UInt16(8884)), ("2001:db8::7", 9_000)] {
            var choice = ServerChoice()
            try connect(&choice, own: welcome(own, port: port))
            #expect(try choice.nextOrder().holder == SocketAddress(ipAddress: own, port: Int(port)))
        }
    }

    @Test(
        "an own address at which another host may answer is ignored",
        arguments: [
            ("127.0.0.1", 8884), ("::1", 8884), ("0.0.0.0", 8884), ("::", 8884), ("169.254.1.1", 8884),
            ("fe80::1", 8884), ("224.0.0.1", 8884), ("ff02::1", 8884), ("10.1.0.7", 0),
        ])
    func ambiguousAddress(own: String, port: UInt16) throws {
        var choice = ServerChoice()
        try connect(&choice, own: welcome(own, port: port))
        #expect(choice.nextOrder().holder == Self.addresses[2])
    }

    @Test("an agent returns at most twenty times in a row to a server that acknowledges nothing")
    func limit() throws {
        var choice = ServerChoice(start: 0)
        for _ in 0..<ServerChoice.maximumReturns {
            try connect(&choice)
            #expect(choice.nextOrder().holder == Self.addresses[2])
        }
        try connect(&choice)
        #expect(choice.nextOrder().holder == nil)
        choice.acknowledged()
        try connect(&choice)
        #expect(choice.nextOrder().holder == Self.addresses[2])
    }
}
