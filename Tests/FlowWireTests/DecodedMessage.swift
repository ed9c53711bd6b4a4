// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Testing

/// A copy of an ``AgentMessage`` that can be compared.
enum DecodedMessage: Equatable {
    case hello(Hello)
    case batch(sequence: UInt64, observedAtMilliseconds: UInt64, flows: [Flow])
    case hostAddresses([IPAddress])
    case leaving
    case confirmation(HeldConfirmation)
    case inDoubt([Doubt])
    case unknown

    /// Decodes the message of one frame, given without its length field.
    init(_ message: ByteBuffer) throws(WireError) {
        switch try AgentMessage(decoding: message) {
        case .hello(let hello): self = .hello(hello)
        case .hostAddresses(let addresses): self = .hostAddresses(addresses)
        case .leaving: self = .leaving
        case .confirmation(let confirmation): self = .confirmation(confirmation)
        case .inDoubt(let doubts): self = .inDoubt(doubts)
        case .unknown: self = .unknown
        case .batch(let batch):
            var flows: [Flow] = []
            batch.forEach { flows.append($0) }
            #expect(batch.count == flows.count)
            self = .batch(
                sequence: batch.sequence, observedAtMilliseconds: batch.observedAtMilliseconds, flows: flows)
        }
    }

    init(_ message: [UInt8]) throws(WireError) { try self.init(ByteBuffer(bytes: message)) }
}

/// Returns the messages of all frames in a byte stream, without their length fields.
func messages(of stream: ByteBuffer...) throws -> [ByteBuffer] {
    let processor = NIOSingleStepByteToMessageProcessor(FrameDecoder())
    var messages: [ByteBuffer] = []
    for bytes in stream { try processor.process(buffer: bytes) { messages.append($0) } }
    try processor.finishProcessing(seenEOF: true) { messages.append($0) }
    return messages
}

/// Returns the message of a single frame.
func message(of frame: ByteBuffer) throws -> ByteBuffer {
    let messages = try messages(of: frame)
    try #require(messages.count == 1)
    return messages[0]
}

extension FlowBatchBuilder {
    /// Returns the frame of a batch of these flows.
    static func frame(
        _ family: Family, _ flows: [Flow], sequence: UInt64 = 1, observedAtMilliseconds: UInt64 = 1
    ) -> ByteBuffer {
        var builder = FlowBatchBuilder(family: family)
        for flow in flows { builder.append(flow) }
        return builder.takeFrame(sequence: sequence, observedAtMilliseconds: observedAtMilliseconds)
    }
}
