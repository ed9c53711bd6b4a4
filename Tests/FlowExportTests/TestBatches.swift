// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import NIOCore
@testable import Retry
import TestSupport
import Testing

extension Flow {
    /// Returns a TCP flow unique to `number`, with these bytes and packets in each direction.
    static func test(_ number: Int, isIPv4: Bool = true, bytes: UInt64 = 1_000, packets: UInt64 = 10) -> Flow {
        let (client, server) = (UInt128(0x2001_0db8) << 96 | UInt128(number), UInt128(0x2001_0db8) << 96 | 1 << 64)
        let tuple = FlowTuple(
            source: isIPv4 ? IPAddress(v4: 0x0a00_0000 + UInt32(number)) : IPAddress(bits: client),
            destination: isIPv4 ? IPAddress(v4: 0x0aff_0000) : IPAddress(bits: server),
            sourcePort: 40_000, destinationPort: 443)
        return Flow(
            transport: .tcp, original: tuple, reply: tuple.mirrored,
            originalCounters: FlowCounters(packets: packets, bytes: bytes),
            replyCounters: FlowCounters(packets: packets, bytes: bytes))
    }
}

extension FlowExporter.Configuration {
    /// Returns a configuration with timeouts that only a hang reaches, and with short delays between attempts to
    /// connect.
    static func test(host: String = "127.0.0.1", port: Int) -> FlowExporter.Configuration {
        var configuration = FlowExporter.Configuration(
            host: host, port: port, connectTimeout: .hours(1), answerTimeout: .hours(1))
        configuration.backoff = Backoff(initial: .milliseconds(10), maximum: .milliseconds(100))
        configuration.departureTimeout = .hours(1)
        configuration.spoolTimeout = .hours(1)
        return configuration
    }
}

extension ExportBatch {
    /// Returns a batch of these flows, all of one family.
    static func test(_ sequence: UInt64, _ flows: [Flow] = [.test(1)], at moment: UInt64 = 0) -> ExportBatch {
        var builder = FlowBatchBuilder(family: flows.allSatisfy(\.isIPv4) ? .ipv4 : .ipv6)
        for flow in flows { builder.append(flow) }
        return builder.takeBatch(sequence: sequence, observedAtMilliseconds: moment)
    }
}

/// A batch as a server decodes it.
struct SentBatch: Equatable {
    let sequence: UInt64
    let observedAtMilliseconds: UInt64
    let flows: [Flow]

    /// Decodes a frame's message, given without its length field.
    init(message: ByteBuffer) throws {
        guard case .batch(let batch) = try AgentMessage(decoding: message) else {
            throw WireError.notAMessage(message.readableBytes)
        }
        var flows: [Flow] = []
        batch.forEach { flows.append($0) }
        (sequence, observedAtMilliseconds) = (batch.sequence, batch.observedAtMilliseconds)
        self.flows = flows
    }

    init(frame: ByteBuffer) throws {
        try self.init(message: frame.getSlice(at: frame.readerIndex + 4, length: frame.readableBytes - 4) ?? frame)
    }

    init(_ batch: ExportBatch) throws { try self.init(frame: batch.frame) }

    var reportedBytes: UInt64 { flows.reduce(0) { $0 + $1.bytes } }
}
