// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc
import Testing

@testable import Conntrack

/// Returns a `struct nlmsghdr` with a payload, without padding after it.
private func message(type: Int32, length: Int? = nil, _ payload: [UInt8] = []) -> [UInt8] {
    let header = nlmsghdr(
        nlmsg_len: UInt32(length ?? 16 + payload.count), nlmsg_type: UInt16(type), nlmsg_flags: 0, nlmsg_seq: 7,
        nlmsg_pid: 0)
    return withUnsafeBytes(of: header, Array.init) + payload
}

/// Returns the payloads of a datagram's messages; throws the iterator's error.
private func payloads(_ datagram: [UInt8]) throws -> [[UInt8]] {
    try GuardedBytes().lend(datagram) { datagram in
        var messages = NetlinkMessages(datagram)
        var payloads: [[UInt8]] = []
        while let message = try messages.next() { payloads.append(Array(message.payload)) }
        return payloads
    }
}

@Suite struct NetlinkMessageTests {
    @Test("messages begin at multiples of four bytes") func messagesBeginAtMultiplesOfFour() throws {
        let datagram =
            message(type: 0x100, [1, 2, 3, 4, 5]) + [0, 0, 0] + message(type: 0x100) + message(type: 0x100, [6])
        #expect(try payloads(datagram) == [[1, 2, 3, 4, 5], [], [6]])
        #expect(try payloads([]) == [])
    }

    @Test("a message whose length exceeds the datagram is rejected", arguments: [0, 15, 17, UInt32.max])
    func aLengthThatPointsOutsideTheDatagramIsRefused(length: UInt32) {
        let datagram = message(type: 0x100, length: Int(length))
        #expect {
            try payloads(datagram)
        } throws: { error in
            guard case ConntrackError.malformedMessage(let problem) = error else { return false }
            return problem.contains("\(length) bytes where 16 are left")
        }
    }

    @Test("a datagram shorter than a message header is rejected", arguments: 1..<16)
    func aDatagramTooShortForAHeaderIsRefused(count: Int) {
        #expect(throws: ConntrackError.self) { try payloads(Array(message(type: 0x100).prefix(count))) }
    }

    @Test("the error number is read from an NLMSG_ERROR message") func anErrorMessageCarriesItsNumber() throws {
        func errorNumber(_ bytes: [UInt8]) throws -> Int32? {
            try GuardedBytes().lend(bytes) { bytes in
                var messages = NetlinkMessages(bytes)
                let message = try messages.next()
                return try #require(message).errorNumber()
            }
        }
        let number = withUnsafeBytes(of: -EPERM, Array.init)
        #expect(try errorNumber(message(type: NLMSG_ERROR, number)) == EPERM)
        #expect(try errorNumber(message(type: NLMSG_ERROR, [0, 0, 0, 0])) == 0)
        #expect(try errorNumber(message(type: NLMSG_DONE, number)) == nil)
        #expect(throws: ConntrackError.malformedMessage("an NLMSG_ERROR of 3 bytes")) {
            try errorNumber(message(type: NLMSG_ERROR, [1, 2, 3]))
        }
    }
}
