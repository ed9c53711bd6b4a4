// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Glibc

/// Reads and zeroes single entries of the table, with many requests per system call.
///
/// The response to an entry's own request contains everything that the entry had counted. In a zeroing dump, by
/// contrast, a counter can be zeroed unread at a boundary between messages.
struct EntryZeroer: ~Copyable {
    /// The size in bytes of the requests of one send. A request has 20 bytes of headers and the entry's original tuple:
    /// 52 bytes with IPv4, 76 with IPv6, 8 more with a zone.
    private static let requestBytes = 128 * 128

    /// The receive buffer space reserved for one response, in bytes: the kernel was measured to charge about 1,280.
    private static let chargePerAnswer = 1536

    /// The limit on requests that are held until a dump has ended, in bytes.
    private static let maximumHeldBytes = 1 << 20

    let socket: NetlinkSocket
    private let events: DestroyEvents?
    private var slots = DatagramSlots()
    private let requests = UnsafeMutableRawBufferPointer.allocate(byteCount: requestBytes, alignment: 4)
    /// The end offsets of the requests that wait to be sent, in order.
    private var ends: [Int] = []
    private let maximumPending: Int
    private var sequence: UInt32 = 0
    /// Requests to be sent after all others, concatenated.
    private var held: [UInt8] = []
    private var busiest = BusiestEntries()

    /// Opens a socket for requests.
    ///
    /// - Parameter events: The events of ended connections, which are matched with responses.
    init(events: DestroyEvents?) throws(ConntrackError) {
        let socket = try NetlinkSocket()
        // The receive buffer must hold all responses of a send. A response that does not fit is lost, although its
        // entry has been zeroed.
        let room = socket.setReceiveBuffer(bytes: 1 << 20)
        maximumPending = max(1, min(DatagramSlots.count, room / Self.chargePerAnswer))
        ends.reserveCapacity(maximumPending)
        self.socket = socket
        self.events = events
    }

    deinit { requests.deallocate() }

    /// Queues a request for an entry that a dump has just shown. Its response arrives during this call or a later one.
    ///
    /// - Parameter isHeld: True if the entry must be read after all entries that are not held.
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

    /// Sends all queued and held requests and handles their responses.
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
            // Destroyed since the dump: its counters come with its DESTROY event.
            case .refused(ENOENT): collection.goneEntries += 1
            case .refused(let code):
                collection.refusedEntries += 1
                collection.refusal = ConntrackError(operation: operation, errno: code)
            case .malformed: collection.malformedEntries += 1
            }
        }
    }

    /// The kernel's response to one request.
    private enum Answer {
        case entry(ConntrackEntry)
        case refused(Int32)
        case malformed
    }

    /// Sends the queued requests and passes on their responses.
    ///
    /// - Returns: The number of requests without a response.
    private mutating func exchange(
        _ type: cntl_msg_types, _ operation: String, _ body: (Answer) -> Void
    ) throws(ConntrackError) -> Int {
        guard let end = ends.last else { return 0 }
        defer { ends.removeAll(keepingCapacity: true) }
        let first = number(as: type)
        try socket.send(UnsafeRawBufferPointer(rebasing: requests[..<end]), operation: operation)
        // The kernel has handled every request by now, so a response that is not waiting will never come.
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
                // The kernel reports ENOBUFS once, in place of the responses that did not fit. The responses that did
                // fit can still be read.
                continue
            }
        }
        return missing
    }

    /// Sets the type and the sequence numbers of the queued requests, and returns the first number.
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

    /// Decodes one response; nil if it belongs to a send that was abandoned. A malformed response must not discard the
    /// others, whose entries have been zeroed.
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

/// The requests for the entries with the highest counts of a collection.
private struct BusiestEntries {
    private var requests: [(bytes: UInt64, request: [UInt8])] = []
    /// The bytes that an entry must exceed to be included.
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
