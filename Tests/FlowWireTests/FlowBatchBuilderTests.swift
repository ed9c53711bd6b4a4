// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@Suite struct FlowBatchBuilderTests {
    @Test("the bytes of a batch equal the recorded ones") func itsBytesAreTheRecordedOnes() throws {
        let recorded = try ByteBuffer(
            annotatedHex: """
                00 00 00 4a                     # length: 74
                12 48                           # AgentMessage.batch
                   08 2a                        #   sequence: 42
                   10 80 d0 95 ff bc 31         #   observed_at_ms: 1700000000000
                   1a 04 05 00 00 0a            #   ipv4_source: 10.0.0.5
                   22 04 0a 00 60 0a            #   ipv4_destination: 10.96.0.10
                   3a 03 80 f1 02               #   source_port: 47232
                   42 01 35                     #   destination_port: 53
                   4a 01 11                     #   transport: 17
                   52 01 01                     #   original_packets: 1
                   5a 01 46                     #   original_bytes: 70
                   62 01 02                     #   reply_packets: 2
                   6a 02 ac 02                  #   reply_bytes: 300
                   72 01 00                     #   translated: flow 0
                   7a 04 09 00 f4 0a            #   translated_ipv4_source: 10.244.0.9
                   82 01 04 05 00 00 0a         #   translated_ipv4_destination: 10.0.0.5
                   9a 01 02 e9 28               #   translated_source_port: 5225
                   a2 01 03 80 f1 02            #   translated_destination_port: 47232
                """)
        let flow = Flow(
            transport: .udp,
            original: FlowTuple(
                source: IPAddress(v4: 0x0a00_0005), destination: IPAddress(v4: 0x0a60_000a), sourcePort: 47_232,
                destinationPort: 53),
            reply: FlowTuple(
                source: IPAddress(v4: 0x0af4_0009), destination: IPAddress(v4: 0x0a00_0005), sourcePort: 5_225,
                destinationPort: 47_232),
            originalCounters: FlowCounters(packets: 1, bytes: 70),
            replyCounters: FlowCounters(packets: 2, bytes: 300))
        let time: UInt64 = 1_700_000_000_000
        #expect(FlowBatchBuilder.frame(.ipv4, [flow], sequence: 42, observedAtMilliseconds: time) == recorded)
        #expect(
            try DecodedMessage(message(of: recorded))
                == .batch(sequence: 42, observedAtMilliseconds: time, flows: [flow]))
    }

    @Test("the zone of a flow is sent where it is not 0, and old batches without it are those of the default zone")
    func zones() throws {
        let tuple = FlowTuple(
            source: IPAddress(v4: 1), destination: IPAddress(v4: 2), sourcePort: 3, destinationPort: 4)
        func flow(_ zone: UInt16) -> Flow {
            Flow(
                transport: .tcp, original: tuple, reply: tuple.mirrored,
                originalCounters: FlowCounters(packets: 1, bytes: 2), replyCounters: FlowCounters(), zone: zone)
        }
        let flows = [flow(0), flow(300), flow(0), flow(.max)]
        let without = FlowBatchBuilder.frame(.ipv4, flows.map { _ in flow(0) })
        let frame = FlowBatchBuilder.frame(.ipv4, flows)
        let columns = try ByteBuffer(
            annotatedHex: """
                aa 01 02 01 03                  # zoned: flows 1 and 3
                b2 01 05 ac 02 ff ff 03         # zone: 300, 65535
                """)
        #expect(frame.readableBytes == without.readableBytes + columns.readableBytes)
        #expect(frame.readableBytesView.suffix(columns.readableBytes).elementsEqual(columns.readableBytesView))
        #expect(
            try DecodedMessage(message(of: frame)) == .batch(sequence: 1, observedAtMilliseconds: 1, flows: flows))
        guard case .batch(let batch) = try AgentMessage(decoding: message(of: frame)) else { return }
        var zones: [UInt16] = []
        for start in 0..<4 { batch.forEach(in: start..<4) { zones.append($0.zone) } }
        #expect(zones == [0, 300, 0, .max, 300, 0, .max, 0, .max, .max])
    }

    @Test("random batches are decoded as they were encoded", arguments: [FlowBatchBuilder.Family.ipv4, .ipv6])
    func randomBatchesComeBackFromTheirFrames(_ family: FlowBatchBuilder.Family) throws {
        var generator = SeededGenerator(seed: family == .ipv4 ? 4 : 6)
        var builder = FlowBatchBuilder(family: family)
        for round in 0..<200 {
            // No flow, about one in seven, or every flow is translated.
            let translation = [Int.max, 7, 1][round % 3]
            let flows = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                generator.flow(family, translation: translation)
            }
            for flow in flows { builder.append(flow) }
            #expect(builder.count == flows.count)
            #expect(builder.reportedBytes == flows.reduce(0) { $0 &+ $1.bytes })
            let (sequence, time) = (generator.integer(UInt64.self), generator.integer(UInt64.self))
            let frame = builder.takeFrame(sequence: sequence, observedAtMilliseconds: time)
            #expect(
                try DecodedMessage(message(of: frame))
                    == .batch(sequence: sequence, observedAtMilliseconds: time, flows: flows), "round \(round)")
        }
    }

    @Test("a full batch of the longest flows fits a frame") func aFullBatchOfTheLongestFlowsFitsAFrame() throws {
        let all = IPAddress(bits: .max)
        let original = FlowTuple(
            source: all, destination: IPAddress(bits: .max - 1), sourcePort: .max, destinationPort: .max)
        let most = FlowCounters(packets: .max, bytes: .max)
        let flow = Flow(
            transport: TransportProtocol(rawValue: .max), original: original, reply: original, originalCounters: most,
            replyCounters: most, zone: .max)
        var builder = FlowBatchBuilder(family: .ipv6)
        while !builder.isFull { builder.append(flow) }
        #expect(builder.count == FlowBatchBuilder.maximumFlows)
        let frame = builder.takeFrame(sequence: .max, observedAtMilliseconds: .max)
        #expect(frame.readableBytes <= 4 + Frame.maximumLength)
        let flows = [Flow](repeating: flow, count: FlowBatchBuilder.maximumFlows)
        #expect(
            try DecodedMessage(message(of: frame))
                == .batch(sequence: .max, observedAtMilliseconds: .max, flows: flows))
    }

    @Test("the builder is empty after a batch is taken") func takingABatchBeginsAnEmptyOne() throws {
        var generator = SeededGenerator(seed: 1)
        var builder = FlowBatchBuilder(family: .ipv4)
        for _ in 0..<5 { builder.append(generator.flow(.ipv4, translation: 1)) }
        _ = builder.takeFrame(sequence: 1, observedAtMilliseconds: 1)
        #expect(builder.count == 0)
        #expect(builder.reportedBytes == 0)
        #expect(
            try DecodedMessage(message(of: builder.takeFrame(sequence: 2, observedAtMilliseconds: 3)))
                == .batch(sequence: 2, observedAtMilliseconds: 3, flows: []))
    }

    @Test("a typical flow takes at most 32 bytes") func aThousandTypicalFlowsTakeAtMost32BytesEach() {
        var generator = SeededGenerator(seed: 32)
        let flows = (0..<1_000).map { _ in
            let tuple = FlowTuple(
                source: IPAddress(v4: 0x0a00_0000 | .random(in: 0...0xffff, using: &generator)),
                destination: IPAddress(v4: .random(in: .min ... .max, using: &generator)),
                sourcePort: .random(in: 32_768...60_999, using: &generator),
                destinationPort: [53, 443, 5_432, 8_443, 30_080].randomElement(using: &generator) ?? 443)
            // From the packets of a handshake to those of a busy connection in five seconds.
            let packets: [UInt64] = (0..<2).map { _ in 3 << UInt64.random(in: 0...13, using: &generator) }
            return Flow(
                transport: .tcp, original: tuple, reply: tuple.mirrored,
                originalCounters: FlowCounters(packets: packets[0], bytes: packets[0] * 120),
                replyCounters: FlowCounters(packets: packets[1], bytes: packets[1] * 1_400))
        }
        #expect(FlowBatchBuilder.frame(.ipv4, flows).readableBytes <= 32 * flows.count)
    }
}
