// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import FlowModel
public import NIOCore

/// Gathers the flows of one address family and writes them as one frame.
///
/// Its columns, about 0.1 MB, are allocated once, for ``maximumFlows`` flows, and reused for every batch.
public struct FlowBatchBuilder: ~Copyable {
    /// The most flows that one batch holds. More would cost memory in the server, which buffers a partial frame for
    /// each agent that it has stopped reading, and save little: a batch's own few bytes are negligible beside this many
    /// flows. Even if all were IPv6, translated and in a zone, and every counter took its longest form, their frame would
    /// stay below ``Frame/maximumLength`` (128 bytes a flow).
    public static let maximumFlows = 1024

    /// The address family of the flows.
    public enum Family: CaseIterable, Sendable {
        /// Four bytes an address.
        case ipv4
        /// Sixteen bytes an address.
        case ipv6
    }

    /// The number of flows gathered so far.
    public private(set) var count = 0
    /// The network bytes that those flows report, both directions.
    public private(set) var reportedBytes: UInt64 = 0

    private let family: Family
    private let source: Addresses
    private let destination: Addresses
    private let sourcePort = Column<UInt32>(capacity: maximumFlows)
    private let destinationPort = Column<UInt32>(capacity: maximumFlows)
    private let transport = Column<UInt8>(capacity: maximumFlows)
    private let originalPackets = Column<UInt64>(capacity: maximumFlows)
    private let originalBytes = Column<UInt64>(capacity: maximumFlows)
    private let replyPackets = Column<UInt64>(capacity: maximumFlows)
    private let replyBytes = Column<UInt64>(capacity: maximumFlows)

    private var translatedCount = 0
    private let translated = Column<UInt32>(capacity: maximumFlows)
    private let translatedSource: Addresses
    private let translatedDestination: Addresses
    private let translatedSourcePort = Column<UInt32>(capacity: maximumFlows)
    private let translatedDestinationPort = Column<UInt32>(capacity: maximumFlows)

    private var zonedCount = 0
    private let zoned = Column<UInt32>(capacity: maximumFlows)
    private let zone = Column<UInt32>(capacity: maximumFlows)

    /// Makes an empty builder for flows of one family.
    public init(family: Family) {
        self.family = family
        source = Addresses(family)
        destination = Addresses(family)
        translatedSource = Addresses(family)
        translatedDestination = Addresses(family)
    }

    /// Whether the batch must be taken before another flow is added.
    public var isFull: Bool { count == Self.maximumFlows }

    /// Adds a flow of this builder's family. The builder must not be full.
    public mutating func append(_ flow: Flow) {
        precondition(!isFull && flow.isIPv4 == (family == .ipv4), "the batch is full or of the other family")
        source[count] = flow.original.source
        destination[count] = flow.original.destination
        sourcePort[count] = UInt32(flow.original.sourcePort)
        destinationPort[count] = UInt32(flow.original.destinationPort)
        transport[count] = flow.transport.rawValue
        originalPackets[count] = flow.originalCounters.packets
        originalBytes[count] = flow.originalCounters.bytes
        replyPackets[count] = flow.replyCounters.packets
        replyBytes[count] = flow.replyCounters.bytes
        if flow.isTranslated {
            translated[translatedCount] = UInt32(count)
            translatedSource[translatedCount] = flow.reply.source
            translatedDestination[translatedCount] = flow.reply.destination
            translatedSourcePort[translatedCount] = UInt32(flow.reply.sourcePort)
            translatedDestinationPort[translatedCount] = UInt32(flow.reply.destinationPort)
            translatedCount += 1
        }
        if flow.zone != 0 {
            zoned[zonedCount] = UInt32(count)
            zone[zonedCount] = UInt32(flow.zone)
            zonedCount += 1
        }
        count += 1
        reportedBytes &+= flow.bytes
    }

    /// Returns the gathered flows as one frame, length field included, and starts an empty batch.
    ///
    /// - Parameters:
    ///   - sequence: The batch's number in this agent process.
    ///   - observedAtMilliseconds: The time at which the counters were read, in milliseconds since the Unix epoch.
    public mutating func takeFrame(sequence: UInt64, observedAtMilliseconds: UInt64) -> ByteBuffer {
        defer {
            count = 0
            translatedCount = 0
            zonedCount = 0
            reportedBytes = 0
        }
        var batch = Kubenetmon__V1__FlowBatch()
        kubenetmon__v1__flow_batch__init(&batch)
        batch.sequence = sequence
        batch.observed_at_ms = observedAtMilliseconds
        (batch.n_ipv4_source, batch.ipv4_source) = source.ipv4Column(count)
        (batch.n_ipv4_destination, batch.ipv4_destination) = destination.ipv4Column(count)
        batch.ipv6_source = source.ipv6Column(count)
        batch.ipv6_destination = destination.ipv6Column(count)
        (batch.n_source_port, batch.source_port) = (count, sourcePort.base)
        (batch.n_destination_port, batch.destination_port) = (count, destinationPort.base)
        batch.transport = ProtobufCBinaryData(len: count, data: transport.base)
        (batch.n_original_packets, batch.original_packets) = (count, originalPackets.base)
        (batch.n_original_bytes, batch.original_bytes) = (count, originalBytes.base)
        (batch.n_reply_packets, batch.reply_packets) = (count, replyPackets.base)
        (batch.n_reply_bytes, batch.reply_bytes) = (count, replyBytes.base)
        (batch.n_translated, batch.translated) = (translatedCount, translated.base)
        (batch.n_translated_ipv4_source, batch.translated_ipv4_source) = translatedSource.ipv4Column(translatedCount)
        (batch.n_translated_ipv4_destination, batch.translated_ipv4_destination) =
            translatedDestination.ipv4Column(translatedCount)
        batch.translated_ipv6_source = translatedSource.ipv6Column(translatedCount)
        batch.translated_ipv6_destination = translatedDestination.ipv6Column(translatedCount)
        (batch.n_translated_source_port, batch.translated_source_port) = (translatedCount, translatedSourcePort.base)
        (batch.n_translated_destination_port, batch.translated_destination_port) =
            (translatedCount, translatedDestinationPort.base)
        (batch.n_zoned, batch.zoned) = (zonedCount, zoned.base)
        (batch.n_zone, batch.zone) = (zonedCount, zone.base)
        return withUnsafeMutablePointer(to: &batch) { batch in
            var message = Kubenetmon__V1__AgentMessage()
            kubenetmon__v1__agent_message__init(&message)
            message.body_case = KUBENETMON__V1__AGENT_MESSAGE__BODY_BATCH
            message.batch = batch
            return ByteBuffer(framing: &message)
        }
    }

    /// A column of addresses in the family's wire format.
    private struct Addresses: ~Copyable {
        private let ipv4: Column<UInt32>
        private let ipv6: Column<UInt128>

        init(_ family: Family) {
            ipv4 = Column(capacity: family == .ipv4 ? maximumFlows : 0)
            ipv6 = Column(capacity: family == .ipv6 ? maximumFlows : 0)
        }

        subscript(index: Int) -> IPAddress {
            get { ipv6.capacity > 0 ? IPAddress(bits: UInt128(bigEndian: ipv6[index])) : IPAddress(v4: ipv4[index]) }
            nonmutating set {
                if let v4 = newValue.v4, ipv6.capacity == 0 {
                    ipv4[index] = v4
                } else {
                    ipv6[index] = newValue.bits.bigEndian
                }
            }
        }

        func ipv4Column(_ count: Int) -> (Int, UnsafeMutablePointer<UInt32>?) {
            (ipv4.capacity > 0 ? count : 0, ipv4.base)
        }

        func ipv6Column(_ count: Int) -> ProtobufCBinaryData {
            ProtobufCBinaryData(
                len: ipv6.capacity > 0 ? count * MemoryLayout<UInt128>.size : 0,
                data: UnsafeMutableRawPointer(ipv6.base).assumingMemoryBound(to: UInt8.self))
        }
    }
}

/// Memory for a fixed number of plain values at a fixed address, as protobuf-c's structures need it. Every access is
/// checked against the capacity.
private struct Column<Element: BitwiseCopyable>: ~Copyable {
    let base: UnsafeMutablePointer<Element>
    let capacity: Int

    init(capacity: Int) {
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit { base.deallocate() }

    subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < capacity)
            return base[index]
        }
        nonmutating set {
            precondition(index >= 0 && index < capacity)
            (base + index).initialize(to: newValue)
        }
    }
}
