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

    /// The bound on requests that are held back until a dump has ended, in bytes.
    private static let maximumHeldBytes = 1 << 20

    let socket: NetlinkSocket
    private let events: DestroyEvents?
    private var slots = DatagramSlots()
    private let requests = UnsafeMutableRawBufferPointer.allocate(byteCount: requestBytes, alignment: 4)
    /// Where the requests end that wait to be sent, in their order.
    private var ends: [Int] = []
    private let maximumPending: Int
    private var sequence: UInt32 = 0
    /// Requests that are sent when all others have been, one behind another.
    private var held: [UInt8] = []
    private var busiest = BusiestEntries()

    /// Opens a socket for requests.
    ///
    /// - Parameter events: The events of ended connections, which answers are paired with.
    init(events: DestroyEvents?) throws(ConntrackError) {
        let socket = try NetlinkSocket()
        // All answers of a send wait in the buffer. One that does not fit is lost, and the entry is zeroed by then.
        let room = socket.setReceiveBuffer(bytes: 1 << 20)
        maximumPending = max(1, min(DatagramSlots.count, room / Self.chargePerAnswer))
        ends.reserveCapacity(maximumPending)
        self.socket = socket
        self.events = events
    }

    deinit { requests.deallocate() }

    /// Asks for an entry that a dump has just shown; its answer comes with this or a later call.
    ///
    /// - Parameter isHeld: True for an entry that is to be read after all that are not held.
    mutating func add(
        _ message: NetlinkMessage, isHeld: Bool, to collection: inout ConntrackTable.Collection,
        _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        let largestRequest = 128
        if ends.count == maximumPending || (ends.last ?? 0) + largestRequest > requests.count {
            try flush(&collection, body)
        }
        let start = ends.last ?? 0
        var length = MemoryLayout<NetfilterRequest>.size
        var attributes = message.attributes
        while let attribute = attributes?.next() {
            guard attribute.type == Int(CTA_TUPLE_ORIG.rawValue) || attribute.type == Int(CTA_ZONE.rawValue) else {
                continue
            }
            let bytes = attribute.bytes
            guard length + netlinkAligned(bytes.count) <= largestRequest else {
                collection.malformedEntries += 1
                return
            }
            UnsafeMutableRawBufferPointer(rebasing: requests[(start + length)...]).copyMemory(from: bytes)
            length += netlinkAligned(bytes.count)
        }
        let request = NetfilterRequest(
            IPCTNL_MSG_CT_GET_CTRZERO, flags: NLM_F_REQUEST, sequence: 0, family: message.family,
            attributesLength: length - MemoryLayout<NetfilterRequest>.size)
        requests.storeBytes(of: request, toByteOffset: start, as: NetfilterRequest.self)
        if isHeld && held.count + length <= Self.maximumHeldBytes {
            held += requests[start..<start + length]
        } else {
            ends.append(start + length)
        }
    }

    /// Asks for everything that has been added and not answered yet.
    mutating func finish(
        _ collection: inout ConntrackTable.Collection, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        defer { held.removeAll() }
        try flush(&collection, body)
        var start = 0
        while start < held.count {
            let length = Int(held.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start, as: UInt32.self) })
            append(held[start..<start + length])
            start += length
            if ends.count == maximumPending || start == held.count { try flush(&collection, body) }
        }
    }

    private mutating func append(_ request: some Collection<UInt8>) {
        let start = ends.last ?? 0
        UnsafeMutableRawBufferPointer(rebasing: requests[start..<start + request.count]).copyBytes(from: request)
        ends.append(start + request.count)
    }

    /// Reads the busiest entries of the last collection without zeroing them, for ``ResetWatch``.
    mutating func sample() throws(ConntrackError) {
        guard let events else { return }
        for request in busiest.take() { append(request) }
        try events.afterDraining { ledger throws(ConntrackError) in
            _ = try exchange(IPCTNL_MSG_CT_GET, "reading entries of the conntrack table") { answer in
                if case .entry(let entry) = answer { ledger.sample(entry) }
            }
        }
    }

    private mutating func flush(
        _ collection: inout ConntrackTable.Collection, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        guard !ends.isEmpty else { return }
        guard let events else {
            return try flush(&collection, { $0.flow }, body)
        }
        try events.afterDraining { ledger throws(ConntrackError) in
            try flush(&collection, { ledger.report(answer: $0) }, body)
        }
    }

    private mutating func flush(
        _ collection: inout ConntrackTable.Collection, _ report: (ConntrackEntry) -> Flow, _ body: (Flow) -> Void
    ) throws(ConntrackError) {
        let operation = "reading and zeroing entries of the conntrack table"
        collection.lostAnswers += try exchange(IPCTNL_MSG_CT_GET_CTRZERO, operation) { answer in
            switch answer {
            case .entry(let entry) where !entry.flow.isPossible: collection.malformedEntries += 1
            case .entry(let entry): collection.hand(on: report(entry), to: body)
            // Gone since the dump: what it had counted comes with its DESTROY event.
            case .refused(ENOENT): collection.goneEntries += 1
            case .refused(let code):
                collection.refusedEntries += 1
                collection.refusal = ConntrackError(operation: operation, errno: code)
            case .malformed: collection.malformedEntries += 1
            }
        }
    }

    /// What the kernel says to one request.
    private enum Answer {
        case entry(ConntrackEntry)
        case refused(Int32)
        case malformed
    }

    /// Sends the requests that wait and hands on their answers.
    ///
    /// - Returns: The number of requests that got no answer.
    private mutating func exchange(
        _ type: cntl_msg_types, _ operation: String, _ body: (Answer) -> Void
    ) throws(ConntrackError) -> Int {
        guard let end = ends.last else { return 0 }
        defer { ends.removeAll(keepingCapacity: true) }
        let first = number(as: type)
        try socket.send(UnsafeRawBufferPointer(rebasing: requests[..<end]), operation: operation)
        // The kernel has handled every request by now: what has no answer waiting never gets one.
        var missing = ends.count
        while missing > 0 {
            do throws(ConntrackError) {
                let received = try socket.receive(into: &slots, wait: false, operation: operation)
                guard received > 0 else { break }
                for index in 0..<received {
                    guard let answer = take(slots[index], first, type) else { continue }
                    missing -= 1
                    body(answer)
                }
            } catch .system(_, errno: ENOBUFS) {
                // Told once, in place of answers that did not fit; those that did are still to be read.
                continue
            }
        }
        return missing
    }

    /// Gives the requests that wait their type and numbers, and returns the first number.
    private mutating func number(as type: cntl_msg_types) -> UInt32 {
        let first = sequence &+ 1
        var start = 0
        for end in ends {
            sequence &+= 1
            var request = requests.load(fromByteOffset: start, as: NetfilterRequest.self)
            request.header.nlmsg_type = NetfilterRequest.type(type)
            request.header.nlmsg_seq = sequence
            requests.storeBytes(of: request, toByteOffset: start, as: NetfilterRequest.self)
            start = end
        }
        return first
    }

    /// Reads one answer; nil for one to a send that was given up. One that cannot be read costs the others nothing:
    /// their entries are zeroed.
    private mutating func take(
        _ content: DatagramSlots.Content, _ first: UInt32, _ type: cntl_msg_types
    ) -> Answer? {
        guard case .datagram(let datagram) = content else { return .malformed }
        var messages = NetlinkMessages(datagram)
        do throws(ConntrackError) {
            guard let message = try messages.next() else { return .malformed }
            let place = Int(message.header.nlmsg_seq &- first)
            guard place < ends.count else { return nil }
            if let code = try message.errorNumber() { return .refused(code) }
            guard let attributes = message.attributes, let entry = ConntrackEntry(attributes) else { return .malformed }
            if type == IPCTNL_MSG_CT_GET_CTRZERO {
                let start = place == 0 ? 0 : ends[place - 1]
                busiest.consider(entry.flow, UnsafeRawBufferPointer(rebasing: requests[start..<ends[place]]))
            }
            return .entry(entry)
        } catch {
            return .malformed
        }
    }
}

/// The requests for the entries that have counted most in a collection.
private struct BusiestEntries {
    private var requests: [(bytes: UInt64, request: [UInt8])] = []
    /// What an entry must have counted to be among them.
    private var threshold: UInt64 = 0

    mutating func consider(_ flow: Flow, _ request: UnsafeRawBufferPointer) {
        guard flow.bytes > threshold else { return }
        requests.append((flow.bytes, Array(request)))
        guard requests.count > ResetWatch.sampleSize else { return }
        requests.sort { $0.bytes > $1.bytes }
        requests.removeLast()
        threshold = requests.last?.bytes ?? 0
    }

    mutating func take() -> [[UInt8]] {
        defer {
            requests.removeAll(keepingCapacity: true)
            threshold = 0
        }
        return requests.map(\.request)
    }
}
