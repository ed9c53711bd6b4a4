// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import FlowModel

/// A batch received from an agent. Its columns have been checked against each other; its flows are read in place.
///
/// Decoding allocates once per column, not once per flow.
public struct ReceivedFlowBatch: ~Copyable {
    /// The batch's number in its agent process.
    public let sequence: UInt64
    /// The time at which the counters were read, in milliseconds since the Unix epoch: by the node's clock, until the
    /// receiver corrects it.
    public var observedAtMilliseconds: UInt64
    /// The number of flows.
    public let count: Int

    private let message: UnpackedAgentMessage
    private let isIPv4: Bool

    /// Makes a batch from a message that holds one; throws ``WireError`` if its columns are inconsistent.
    init(_ message: consuming UnpackedAgentMessage) throws(WireError) {
        let batch = message.pointer.pointee.batch.pointee
        let count = batch.transport.len
        let isIPv4 = batch.ipv6_source.len == 0
        guard isIPv4 || batch.n_ipv4_source == 0 else { throw .mixedFamilies }
        func check(_ column: String, _ found: Int, _ expected: Int) throws(WireError) {
            guard found == expected else {
                throw .columnLength(column: column, found: found, expected: expected)
            }
        }
        let ipv4Bytes = isIPv4 ? 1 : 0
        let ipv6Bytes = isIPv4 ? 0 : MemoryLayout<UInt128>.size
        try check("ipv4_source", batch.n_ipv4_source, count * ipv4Bytes)
        try check("ipv4_destination", batch.n_ipv4_destination, count * ipv4Bytes)
        try check("ipv6_source", batch.ipv6_source.len, count * ipv6Bytes)
        try check("ipv6_destination", batch.ipv6_destination.len, count * ipv6Bytes)
        try check("source_port", batch.n_source_port, count)
        try check("destination_port", batch.n_destination_port, count)
        try check("original_packets", batch.n_original_packets, count)
        try check("original_bytes", batch.n_original_bytes, count)
        try check("reply_packets", batch.n_reply_packets, count)
        try check("reply_bytes", batch.n_reply_bytes, count)
        let translated = batch.n_translated
        try check("translated_ipv4_source", batch.n_translated_ipv4_source, translated * ipv4Bytes)
        try check("translated_ipv4_destination", batch.n_translated_ipv4_destination, translated * ipv4Bytes)
        try check("translated_ipv6_source", batch.translated_ipv6_source.len, translated * ipv6Bytes)
        try check("translated_ipv6_destination", batch.translated_ipv6_destination.len, translated * ipv6Bytes)
        try check("translated_source_port", batch.n_translated_source_port, translated)
        try check("translated_destination_port", batch.n_translated_destination_port, translated)
        try Self.checkPorts("source_port", batch.source_port, count)
        try Self.checkPorts("destination_port", batch.destination_port, count)
        try Self.checkPorts("translated_source_port", batch.translated_source_port, translated)
        try Self.checkPorts("translated_destination_port", batch.translated_destination_port, translated)
        if let index = Self.firstWrong(batch.translated, translated, of: count) { throw .badTranslatedIndex(index) }
        let zoned = batch.n_zoned
        try check("zone", batch.n_zone, zoned)
        // A zone has as many bits as a port.
        try Self.checkPorts("zone", batch.zone, zoned)
        if let index = Self.firstWrong(batch.zoned, zoned, of: count) { throw .badZonedIndex(index) }
        sequence = batch.sequence
        observedAtMilliseconds = batch.observed_at_ms
        self.count = count
        self.isIPv4 = isIPv4
        self.message = message
    }

    /// Returns the place of the first flow in a column that does not exist or is not ascending; nil if there is none.
    private static func firstWrong(_ flows: UnsafeMutablePointer<UInt32>?, _ length: Int, of count: Int) -> Int? {
        guard let flows else { return nil }
        var previous = -1
        for place in 0..<length {
            let flow = Int(flows[place])
            guard flow > previous, flow < count else { return place }
            previous = flow
        }
        return nil
    }

    private static func checkPorts(
        _ column: String, _ ports: UnsafeMutablePointer<UInt32>?, _ count: Int
    ) throws(WireError) {
        var all: UInt32 = 0
        for index in 0..<count { all |= ports?[index] ?? 0 }
        guard all <= UInt32(UInt16.max) else { throw .valueOutOfRange(column: column, value: UInt64(all)) }
    }

    /// Calls `body` with each flow in turn.
    public func forEach(_ body: (Flow) -> Void) { forEach(in: 0..<count, body) }

    /// Calls `body` with each flow of a range in turn.
    public func forEach(in range: Range<Int>, _ body: (Flow) -> Void) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "the batch has \(count) flows")
        let batch = message.pointer.pointee.batch.pointee
        let first = UInt32(range.lowerBound)
        var nextTranslated = Self.firstPlace(of: first, in: batch.translated, batch.n_translated)
        var nextZoned = Self.firstPlace(of: first, in: batch.zoned, batch.n_zoned)
        for index in range {
            let original = FlowTuple(
                source: address(batch.ipv4_source, batch.ipv6_source, index),
                destination: address(batch.ipv4_destination, batch.ipv6_destination, index),
                sourcePort: UInt16(truncatingIfNeeded: batch.source_port[index]),
                destinationPort: UInt16(truncatingIfNeeded: batch.destination_port[index]))
            var reply = original.mirrored
            if nextTranslated < batch.n_translated, batch.translated[nextTranslated] == UInt32(index) {
                reply = FlowTuple(
                    source: address(batch.translated_ipv4_source, batch.translated_ipv6_source, nextTranslated),
                    destination: address(
                        batch.translated_ipv4_destination, batch.translated_ipv6_destination, nextTranslated),
                    sourcePort: UInt16(truncatingIfNeeded: batch.translated_source_port[nextTranslated]),
                    destinationPort: UInt16(truncatingIfNeeded: batch.translated_destination_port[nextTranslated]))
                nextTranslated += 1
            }
            var zone: UInt16 = 0
            if nextZoned < batch.n_zoned, batch.zoned[nextZoned] == UInt32(index) {
                zone = UInt16(truncatingIfNeeded: batch.zone[nextZoned])
                nextZoned += 1
            }
            body(
                Flow(
                    transport: TransportProtocol(rawValue: batch.transport.data[index]),
                    original: original,
                    reply: reply,
                    originalCounters: FlowCounters(
                        packets: batch.original_packets[index], bytes: batch.original_bytes[index]),
                    replyCounters: FlowCounters(packets: batch.reply_packets[index], bytes: batch.reply_bytes[index]),
                    zone: zone))
        }
    }

    /// Returns the place of the first flow in an ascending column that is not before `flow`.
    private static func firstPlace(
        of flow: UInt32, in flows: UnsafeMutablePointer<UInt32>?, _ length: Int
    ) -> Int {
        guard let flows else { return 0 }
        var low = 0
        var high = length
        while low < high {
            let middle = (low + high) / 2
            if flows[middle] < flow { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func address(
        _ ipv4: UnsafeMutablePointer<UInt32>?, _ ipv6: ProtobufCBinaryData, _ index: Int
    ) -> IPAddress {
        // protobuf-c leaves the column of the other family nil.
        if isIPv4, let ipv4 { return IPAddress(v4: ipv4[index]) }
        let offset = index * MemoryLayout<UInt128>.size
        let wire = UnsafeRawPointer(ipv6.data).loadUnaligned(fromByteOffset: offset, as: UInt128.self)
        return IPAddress(bits: UInt128(bigEndian: wire))
    }
}
