// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct HostAddressColumnsTests {
    private static let recorded = """
        00 00 00 1e                         # length: 30
        1a 1c                               # AgentMessage.host_addresses
           0a 08 01 01 f4 0a                #   ipv4: 10.244.1.1
                 01 00 11 ac                #         172.17.0.1
           12 10 fe 80 00 00 00 00 00 00    #   ipv6: fe80::1
                 00 00 00 00 00 00 00 01
        """

    /// Returns two messages with these columns: a change of host addresses, and a `Hello`.
    private static func messages(ipv4: [UInt32] = [], ipv6 count: Int = 0) -> [[UInt8]] {
        let addresses =
            Protobuf.field(1, Protobuf.packed(fixed: ipv4)) + Protobuf.field(2, [UInt8](repeating: 0xfd, count: count))
        let id = Protobuf.field(3, [UInt8](repeating: 1, count: 16))
        return [Protobuf.field(3, addresses), Protobuf.field(1, id + Protobuf.field(6, addresses))]
    }

    private static func addresses(of message: [UInt8]) throws -> [IPAddress]? {
        switch try DecodedMessage(message) {
        case .hello(let hello): hello.hostAddresses
        case .hostAddresses(let addresses): addresses
        case .batch, .leaving, .confirmation, .inDoubt, .unknown: nil
        }
    }

    @Test("the bytes of a message with host addresses equal the recorded ones")
    func recordedBytes() throws {
        let recorded = try ByteBuffer(annotatedHex: Self.recorded)
        let addresses = [IPAddress(v4: 0x0af4_0101), IPAddress(v4: 0xac11_0001), IPAddress(bits: 0xfe80 << 112 | 1)]
        #expect(AgentMessage.frame(hostAddresses: addresses) == recorded)
        #expect(try DecodedMessage(message(of: recorded)) == .hostAddresses(addresses))
    }

    @Test("host addresses are decoded as they were encoded, in Hello and in a change", arguments: 0..<8)
    func roundTrip(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for count in [0, 1, 2, 17, 255, 256] {
            let addresses = generator.hostAddresses(count)
            let change = try message(of: AgentMessage.frame(hostAddresses: addresses))
            #expect(try DecodedMessage(change) == .hostAddresses(addresses))
            var hello = HelloTests.hello
            hello.hostAddresses = addresses
            let frame = hello.frame()
            #expect(try DecodedMessage(message(of: frame)) == .hello(hello))
            #expect(frame.readableBytes < Hello.maximumLength / 2)
        }
    }

    @Test("IPv4 addresses are decoded first, also those sent in IPv4-mapped form")
    func order() throws {
        let (low, high) = (IPAddress(v4: 1), IPAddress(bits: 1 << 100))
        let change = try message(of: AgentMessage.frame(hostAddresses: [high, low]))
        #expect(try DecodedMessage(change) == .hostAddresses([low, high]))
        let mapped = [UInt8](repeating: 0, count: 10) + [0xff, 0xff, 192, 0, 2, 1]
        #expect(
            try DecodedMessage(Protobuf.field(3, Protobuf.field(2, mapped)))
                == .hostAddresses([IPAddress(v4: 0xc000_0201)]))
    }

    @Test("an empty message has no host addresses; a Hello without the field has none known")
    func absent() throws {
        for message in Self.messages() { #expect(try Self.addresses(of: message) == []) }
        let id = Protobuf.field(3, [UInt8](repeating: 1, count: 16))
        #expect(try Self.addresses(of: Protobuf.field(1, id)) == nil)
    }

    @Test("IPv6 bytes that are not whole addresses are rejected", arguments: [1, 15, 17, 4_095])
    func brokenIPv6(_ count: Int) {
        for message in Self.messages(ipv6: count) {
            #expect(throws: WireError.badHostAddresses(count)) { try DecodedMessage(message) }
        }
    }

    @Test(
        "more than 256 host addresses are rejected",
        arguments: [(257, 0), (0, 257), (128, 129), (200_000, 0), (0, 60_000)])
    func tooMany(_ ipv4: Int, _ ipv6: Int) {
        for message in Self.messages(ipv4: [UInt32](repeating: 7, count: ipv4), ipv6: 16 * ipv6) {
            #expect(throws: WireError.tooManyHostAddresses(ipv4 + ipv6)) { try DecodedMessage(message) }
        }
    }
}
