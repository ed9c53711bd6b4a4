// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Glibc
import TestSupport
import Testing

@testable import Conntrack

/// Requests the entries of these messages and waits for the responses.
private func ask(
    _ zeroer: inout EntryZeroer, for entries: [[UInt8]]
) -> (flows: [Flow], saw: ConntrackTable.Collection, error: ConntrackError?) {
    var flows: [Flow] = []
    var collection = ConntrackTable.Collection()
    do {
        for entry in entries {
            try entry.withUnsafeBytes { bytes in
                var messages = NetlinkMessages(bytes)
                if let message = try messages.next() {
                    try zeroer.add(message, isHeld: false, to: &collection) { flows.append($0) }
                }
            }
        }
        try zeroer.finish(&collection) { flows.append($0) }
    } catch {
        return (flows, collection, error as? ConntrackError)
    }
    return (flows, collection, nil)
}

/// Creates entries with counters, fewer than one send can request, and returns the messages of their dump.
private func makeEntries(_ count: UInt16) throws -> [[UInt8]] {
    try Traffic.addAddresses()
    let server = Endpoint("198.51.100.10", 53)
    let listener = try TestSocket(.udp, at: server)
    for number in 0..<count {
        let client = try TestSocket(.udp, at: Endpoint("192.0.2.10", 40_000 + number))
        try client.send(datagram: 100 + Int(number), to: server, receivedBy: listener)
    }
    var entries: [[UInt8]] = []
    for datagram in try rawDump() {
        try datagram.withUnsafeBytes { bytes in
            var messages = NetlinkMessages(bytes)
            while let message = try messages.next(), message.header.nlmsg_type != UInt16(NLMSG_DONE) {
                entries.append(withUnsafeBytes(of: message.header, Array.init) + message.payload)
            }
        }
    }
    return entries
}

@Suite struct EntryZeroerTests {
    @Test("a request that the kernel rejects does not affect the other requests")
    func aRequestThatTheKernelRefusesCostsTheOthersNothing() async throws {
        try await NetworkNamespace.run {
            let entries = try makeEntries(40)
            let before = try flowsOfTheTable()
            var zeroer = try EntryZeroer(events: nil)
            var broken = entries
            // The type of CTA_TUPLE_PROTO inside CTA_TUPLE_ORIG: the tuple now lacks its protocol.
            broken[20][46] = 0x7f
            let first = ask(&zeroer, for: broken)
            let second = ask(&zeroer, for: entries)
            #expect(first.error == nil)
            #expect(first.saw.refusedEntries == 1)
            #expect(
                first.saw.refusal
                    == .system(operation: "reading and zeroing entries of the conntrack table", errno: EINVAL))
            #expect(first.flows.count == 39 && first.saw.lostAnswers == 0 && first.saw.goneEntries == 0)
            #expect(second.error == nil)
            #expect(Set((first.flows + second.flows).filter { $0.bytes > 0 }) == before)
            #expect(try flowsOfTheTable().allSatisfy { $0.bytes == 0 })
        }
    }

    @Test("responses that do not fit the receive buffer are counted as lost")
    func answersThatDoNotFitTheBufferAreCounted() async throws {
        try await NetworkNamespace.run {
            let entries = try makeEntries(100)
            var zeroer = try EntryZeroer(events: nil)
            var size: Int32 = 4096
            setsockopt(zeroer.socket.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
            let first = ask(&zeroer, for: entries)
            #expect(first.error == nil)
            #expect(!first.flows.isEmpty && first.saw.lostAnswers > 0)
            #expect(first.flows.count + first.saw.lostAnswers == 100)
            // The socket can be used again; the entries without a response have been zeroed.
            var larger: Int32 = 1 << 18
            setsockopt(zeroer.socket.descriptor, SOL_SOCKET, SO_RCVBUF, &larger, socklen_t(MemoryLayout<Int32>.size))
            let second = ask(&zeroer, for: entries)
            #expect(second.error == nil && second.saw.lostAnswers == 0)
            #expect(second.flows.isEmpty && second.saw.ignored[.idle] == 100)
        }
    }
}
