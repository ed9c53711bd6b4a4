// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Glibc

/// Reads and zeroes single entries of the table, many requests to one system call.
///
/// What an entry had counted is in the answer to its own request, whole: there is no message boundary between entries at
/// which a counter could be zeroed unread, as in a dump that zeroes.
struct EntryZeroer: ~Copyable {
    /// Room for the requests of one send. A request has 20 bytes of headers and the entry's original tuple: 52 bytes with
    /// IPv4, 76 with IPv6, 8 more with a zone.
    private static let requestBytes = 128 * 128

    /// What the kernel charges a socket's buffer for one answer: about 1,280 bytes were measured.
    private static let chargePerAnswer = 1536

    let socket: NetlinkSocket
    private var slots = DatagramSlots()
    private let requests = UnsafeMutableRawBufferPointer.allocate(byteCount: requestBytes, alignment: 4)
    private var requestsLength = 0
    private var pending = 0
    private let maximumPending: Int
    private var sequence: UInt32 = 0

    init() throws(ConntrackError) {
        let socket = try NetlinkSocket()
        // All answers of a send wait in the buffer. One that does not fit is lost, and the entry is zeroed by then.
        let room = socket.setReceiveBuffer(bytes: 1 << 20)
        maximumPending = max(1, min(DatagramSlots.count, room / Self.chargePerAnswer))
        self.socket = socket
    }

    deinit { requests.deallocate() }

    /// Asks for an entry that a dump has just shown; its answer comes with this or a later call.
    mutating func add(
        _ message: NetlinkMessage, to collection: inout ConntrackTable.Collection, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        let start = requestsLength
        var length = MemoryLayout<NetfilterRequest>.size
        var attributes = message.attributes
        while let attribute = attributes?.next() {
            guard attribute.type == Int(CTA_TUPLE_ORIG.rawValue) || attribute.type == Int(CTA_ZONE.rawValue) else {
                continue
            }
            let bytes = attribute.bytes
            guard start + length + netlinkAligned(bytes.count) <= requests.count else {
                throw .malformedMessage("the tuple of an entry has \(bytes.count) bytes")
            }
            UnsafeMutableRawBufferPointer(rebasing: requests[(start + length)...]).copyMemory(from: bytes)
            length += netlinkAligned(bytes.count)
        }
        sequence &+= 1
        let request = NetfilterRequest(
            IPCTNL_MSG_CT_GET_CTRZERO, flags: NLM_F_REQUEST, sequence: sequence, family: message.family,
            attributesLength: length - MemoryLayout<NetfilterRequest>.size)
        requests.storeBytes(of: request, toByteOffset: start, as: NetfilterRequest.self)
        requestsLength += length
        pending += 1
        let largestRequest = 128
        if pending >= maximumPending || requestsLength + largestRequest > requests.count {
            try flush(&collection, body)
        }
    }

    /// Sends what has been asked for and hands on the answers.
    mutating func flush(
        _ collection: inout ConntrackTable.Collection, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        guard pending > 0 else { return }
        let operation = "reading and zeroing entries of the conntrack table"
        let sent = UInt32(pending)
        let firstSequence = sequence &- sent &+ 1
        let bytes = UnsafeRawBufferPointer(rebasing: requests[..<requestsLength])
        pending = 0
        requestsLength = 0
        try socket.send(bytes, operation: operation)
        // The kernel has handled every request by now: what has no answer waiting never gets one.
        var answers = Answers(missing: Int(sent))
        while answers.missing > 0 {
            do throws(ConntrackError) {
                let received = try socket.receive(into: &slots, wait: false, operation: operation)
                guard received > 0 else { break }
                for index in 0..<received {
                    take(slots[index], sentFrom: firstSequence, count: sent, &answers, &collection, body)
                }
            } catch .system(_, errno: ENOBUFS) {
                // Told once, in place of answers that did not fit; those that did are still to be read.
                continue
            }
        }
        collection.lostAnswers += answers.missing
        if let code = answers.errorNumber { throw ConntrackError(operation: operation, errno: code) }
    }

    /// What has come of one send.
    private struct Answers {
        var missing: Int
        /// The last error that an answer carried, other than that its entry is gone.
        var errorNumber: Int32?
    }

    /// Takes one answer. Whatever is wrong with it, the others are taken all the same: their entries are zeroed.
    private func take(
        _ datagram: UnsafeRawBufferPointer?, sentFrom firstSequence: UInt32, count: UInt32, _ answers: inout Answers,
        _ collection: inout ConntrackTable.Collection, _ body: (Flow) -> Void
    ) {
        do throws(ConntrackError) {
            guard let datagram else {
                throw .malformedMessage("an entry is larger than \(DatagramSlots.slotSize) bytes")
            }
            var messages = NetlinkMessages(datagram)
            guard let message = try messages.next() else { throw .malformedMessage("an empty datagram") }
            // An answer to a send that was given up.
            guard message.header.nlmsg_seq &- firstSequence < count else { return }
            answers.missing -= 1
            if let code = try message.errorNumber() {
                // Gone since the dump: what it had counted comes with its DESTROY event.
                if code == ENOENT { collection.goneEntries += 1 } else { answers.errorNumber = code }
            } else if let attributes = message.attributes, let flow = Flow(conntrackAttributes: attributes) {
                body(flow)
            } else {
                collection.malformedEntries += 1
            }
        } catch {
            answers.missing -= 1
            collection.malformedEntries += 1
        }
    }
}
