// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import HostAddresses

@Suite struct AddressDumpTests {
    private static let (newAddress, newLink, done, error) = (UInt16(20), UInt16(16), UInt16(3), UInt16(2))
    private static let (address, local) = (UInt16(1), UInt16(2))

    private static func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value, Array.init) }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] { bytes + [UInt8](repeating: 0, count: -bytes.count & 3) }

    private static func attribute(_ type: UInt16, _ payload: [UInt8]) -> [UInt8] {
        padded(bytes(UInt16(4 + payload.count)) + bytes(type) + payload)
    }

    private static func message(_ type: UInt16, flags: UInt16 = 2, _ payload: [UInt8]) -> [UInt8] {
        padded(bytes(UInt32(16 + payload.count)) + bytes(type) + bytes(flags) + bytes(UInt64(1)) + payload)
    }

    private static func address(family: UInt8 = 2, interface: UInt32 = 3, _ attributes: [UInt8]...) -> [UInt8] {
        message(newAddress, [family, 24, 0, 0] + bytes(interface) + attributes.flatMap { $0 })
    }

    private static let end = message(done, bytes(Int32(0)))

    private static func dump(_ datagrams: [UInt8]..., without ignored: Set<UInt32> = []) throws -> AddressDump {
        var dump = AddressDump(without: ignored)
        for datagram in datagrams { try datagram.withUnsafeBytes { try dump.append($0) } }
        return dump
    }

    @Test("a dump is complete with its last message")
    func end() throws {
        #expect(try Self.dump().isComplete == false)
        let first = Self.address(Self.attribute(Self.local, [10, 0, 0, 1]))
        #expect(try Self.dump(first).isComplete == false)
        let dump = try Self.dump(first, Self.address(Self.attribute(Self.local, [10, 0, 0, 2])) + Self.end)
        #expect(dump.isComplete && !dump.isInterrupted && dump.malformedMessages == 0)
        #expect(dump.addresses == [IPAddress("10.0.0.1"), IPAddress("10.0.0.2")])
    }

    @Test("an interrupted dump is recognized by the flag in any of its messages")
    func interruption() throws {
        let payload = [2, 24, 0, 0] + Self.bytes(UInt32(1)) + Self.attribute(Self.local, [10, 0, 0, 1])
        #expect(try Self.dump(Self.message(Self.newAddress, flags: 0x12, payload), Self.end).isInterrupted)
        #expect(try Self.dump(Self.message(Self.done, flags: 0x12, [])).isInterrupted)
    }

    @Test("an error message in a dump is thrown")
    func errors() throws {
        for type in [Self.error, Self.done] {
            #expect(throws: RouteSocketError("reading the host's addresses", errno: 1)) {
                try Self.dump(Self.message(type, Self.bytes(Int32(-1)) + [UInt8](repeating: 0, count: 16)))
            }
        }
    }

    @Test("the host's own address is read, and not its peer's")
    func peers() throws {
        for attributes in [
            [Self.attribute(Self.address, [10, 0, 0, 2]), Self.attribute(Self.local, [10, 0, 0, 1])],
            [Self.attribute(Self.local, [10, 0, 0, 1]), Self.attribute(Self.address, [10, 0, 0, 2])],
        ] {
            let dump = try Self.dump(Self.address(attributes[0], attributes[1]))
            #expect(dump.addresses == [IPAddress("10.0.0.1")])
        }
        let six = [0xfd] + [UInt8](repeating: 0, count: 14) + [1]
        let dump = try Self.dump(Self.address(family: 10, Self.attribute(Self.address, six)))
        #expect(dump.addresses == [IPAddress("fd00::1")])
    }

    @Test("loopback, unspecified and non-IP addresses and ignored interfaces are skipped")
    func leftOut() throws {
        let (one, zero) = ([UInt8](repeating: 0, count: 15) + [1], [UInt8](repeating: 0, count: 16))
        let dump = try Self.dump(
            Self.address(Self.attribute(Self.local, [127, 0, 0, 1])),
            Self.address(Self.attribute(Self.local, [127, 8, 0, 1])),
            Self.address(Self.attribute(Self.local, [0, 0, 0, 0])),
            Self.address(family: 10, Self.attribute(Self.address, one)),
            Self.address(family: 10, Self.attribute(Self.address, zero)),
            Self.address(interface: 7, Self.attribute(Self.local, [10, 96, 0, 1])),
            Self.address(family: 12, Self.attribute(Self.local, [10, 96, 0, 2])),
            Self.message(Self.newLink, [UInt8](repeating: 0, count: 40)),
            Self.address(interface: 8, Self.attribute(Self.local, [169, 254, 1, 1])), Self.end, without: [7])
        #expect(dump.addresses == [IPAddress("169.254.1.1")])
        #expect(dump.malformedMessages == 0)
    }

    @Test("a malformed message does not affect the others")
    func malformed() throws {
        let good = Self.address(Self.attribute(Self.local, [10, 0, 0, 1]))
        for bad in [
            Self.message(Self.newAddress, [2, 24, 0]), Self.message(Self.newAddress, []), Self.address(),
            Self.address(Self.attribute(Self.local, [10, 0, 0])),
            Self.address(Self.attribute(Self.local, [10, 0, 0, 0, 1])),
            Self.address(Self.bytes(UInt16(3)) + Self.bytes(Self.local)),
            Self.address(Self.bytes(UInt16(9)) + Self.bytes(Self.local) + [10, 0, 0, 2]), Self.address([1, 2]),
        ] {
            let dump = try Self.dump(bad + good + Self.end)
            #expect(dump.isComplete && dump.malformedMessages == 1 && dump.addresses == [IPAddress("10.0.0.1")])
        }
        // Messages after a wrong length cannot be found.
        for bad in [[1, 2, 3], Self.bytes(UInt32(15)) + Self.bytes(UInt32.max), Self.bytes(UInt32.max) + good] {
            let dump = try Self.dump(good + bad, Self.end)
            #expect(dump.isComplete && dump.malformedMessages == 1 && dump.addresses == [IPAddress("10.0.0.1")])
        }
    }

    @Test("mutated messages are decoded or rejected without a crash", arguments: 0..<4)
    func mutations(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let original =
            Self.address(Self.attribute(Self.address, [10, 0, 0, 2]), Self.attribute(Self.local, [10, 0, 0, 1]))
            + Self.address(family: 10, Self.attribute(Self.address, [UInt8](repeating: 9, count: 16))) + Self.end
        var (read, failed) = (0, 0)
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: bytes.indices, using: &generator)] = .random(in: .min ... .max, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0...8, using: &generator))
            do {
                let dump = try Self.dump(bytes)
                #expect(dump.addresses.count <= 2)
                read += 1
            } catch {
                failed += 1
            }
        }
        #expect(read > 1_000 && failed > 100)
    }
}
