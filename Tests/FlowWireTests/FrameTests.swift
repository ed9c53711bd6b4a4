// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import Testing

@Suite struct FrameTests {
    private static let contents = [0, 1, 300, 0, 70_000].map { [UInt8](repeating: UInt8($0 % 251), count: $0) }

    @Test("frames are decoded wherever the stream is split") func framesAreCutWhereverTheStreamIsSplit() throws {
        let contents = Self.contents.filter { $0.count <= 300 }
        let stream = stream(contents)
        for position in 0...stream.readableBytes {
            let head = try #require(stream.getSlice(at: 0, length: position))
            let tail = try #require(stream.getSlice(at: position, length: stream.readableBytes - position))
            #expect(try messages(of: head, tail) == contents.map(ByteBuffer.init(bytes:)), "split at \(position)")
        }
    }

    @Test("frames are decoded from single bytes") func framesAreCutFromSingleBytes() throws {
        let processor = NIOSingleStepByteToMessageProcessor(FrameDecoder())
        var messages: [ByteBuffer] = []
        for byte in stream(Self.contents).readableBytesView {
            try processor.process(buffer: ByteBuffer(bytes: [byte])) { messages.append($0) }
        }
        try processor.finishProcessing(seenEOF: true) { messages.append($0) }
        #expect(messages == Self.contents.map(ByteBuffer.init(bytes:)))
    }

    @Test("a frame of length 0 is an empty message") func aFrameOfNoBytesIsAnEmptyMessage() throws {
        #expect(try messages(of: ByteBuffer(bytes: [0, 0, 0, 0])) == [ByteBuffer()])
    }

    @Test("a frame of the maximum length is accepted") func aFrameOfTheLargestLengthIsTaken() throws {
        let content = [UInt8](repeating: 7, count: Frame.maximumLength)
        #expect(try messages(of: stream([content])) == [ByteBuffer(bytes: content)])
    }

    @Test(
        "a longer frame is rejected before its content arrives",
        arguments: [UInt32(1 << 20) + 1, 1 << 24, UInt32(bytes: "GET "), .max])
    func aLongerFrameIsRefusedBeforeItsContentComes(_ length: UInt32) {
        let processor = NIOSingleStepByteToMessageProcessor(FrameDecoder())
        #expect(throws: WireError.frameTooLong(Int(length), limit: Frame.maximumLength)) {
            try processor.process(buffer: ByteBuffer(integer: length)) { _ in }
        }
    }

    @Test("a stream that ends inside a frame is an error") func aStreamThatEndsInsideAFrameIsTruncated() throws {
        let stream = stream([[1, 2, 3]])
        for length in 1..<stream.readableBytes {
            let head = try #require(stream.getSlice(at: 0, length: length))
            #expect(throws: WireError.truncatedFrame(length)) { try messages(of: head) }
        }
    }

    @Test("messages before a truncated frame are delivered") func messagesBeforeATruncatedFrameAreDelivered() {
        let processor = NIOSingleStepByteToMessageProcessor(FrameDecoder())
        var delivered: [ByteBuffer] = []
        #expect(throws: WireError.truncatedFrame(5)) {
            try processor.process(buffer: ByteBuffer(bytes: [0, 0, 0, 1, 42, 0, 0, 0, 2, 1])) { delivered.append($0) }
            try processor.finishProcessing(seenEOF: true) { delivered.append($0) }
        }
        #expect(delivered == [ByteBuffer(bytes: [42])])
    }

    @Test("an empty stream has no messages") func anEmptyStreamHasNoMessages() throws {
        #expect(try messages(of: ByteBuffer()) == [])
    }

    private func stream(_ contents: [[UInt8]]) -> ByteBuffer {
        contents.reduce(into: ByteBuffer()) { stream, content in
            stream.writeInteger(UInt32(content.count))
            stream.writeBytes(content)
        }
    }
}

extension UInt32 {
    /// Makes a number from four characters, in network byte order.
    fileprivate init(bytes text: String) { self = text.utf8.reduce(0) { $0 << 8 | UInt32($1) } }
}
