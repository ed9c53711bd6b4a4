// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Testing

@testable import FlowExport

@Suite struct ServerChoiceTests {
    private static let addresses = (1...3).map { try! SocketAddress(ipAddress: "192.0.2.\($0)", port: 8884) }

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

    @Test("a server that owes acknowledgements is tried first, once, and the others after it")
    func returns() throws {
        var choice = ServerChoice(start: 0)
        _ = choice.nextOrder()
        choice.opened(to: Self.addresses[2])
        choice.closed(isOwed: true, isSilent: false)
        let order = choice.nextOrder()(Self.addresses)
        #expect(order.first == Self.addresses[2] && Set(order) == Set(Self.addresses) && order.count == 3)
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("a server is not tried first if it owes nothing or was left for its silence", arguments: [true, false])
    func others(isOwed: Bool) {
        var choice = ServerChoice(start: 0)
        choice.opened(to: Self.addresses[2])
        choice.closed(isOwed: isOwed, isSilent: isOwed)
        #expect(choice.nextOrder().holder == nil)
    }

    @Test("the server's own address goes before the one connected to, which may be that of a Service")
    func ownAddress() throws {
        for (own, port) in [("10.1.0.7", UInt16(8884)), ("2001:db8::7", 9_000)] {
            var choice = ServerChoice()
            choice.opened(to: Self.addresses[0])
            choice.welcomed(by: try welcome(own, port: port))
            choice.closed(isOwed: true, isSilent: false)
            #expect(try choice.nextOrder().holder == SocketAddress(ipAddress: own, port: Int(port)))
        }
    }

    @Test("an agent returns at most twenty times in a row to a server that acknowledges nothing")
    func limit() {
        var choice = ServerChoice(start: 0)
        func attempt() -> SocketAddress? {
            choice.opened(to: Self.addresses[1])
            choice.closed(isOwed: true, isSilent: false)
            return choice.nextOrder().holder
        }
        for _ in 0..<ServerChoice.maximumReturns { #expect(attempt() == Self.addresses[1]) }
        #expect(attempt() == nil && attempt() == nil)
        choice.acknowledged()
        #expect(attempt() == Self.addresses[1])
    }
}
