// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore

/// Cuts frames out of what an agent sends, the first a short one, and tells how much waits for the rest of a frame.
struct MeteredFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    /// No more than this is not worth to be told: it fits the buffer that each connection has anyway.
    private let worthTelling: Int
    private var decoder = FrameDecoder(firstLimit: Hello.maximumLength)
    private var told = 0
    private let tell: (_ unfinishedBytes: Int) -> Void

    init(receiveBufferBytes: Int, tell: @escaping (_ unfinishedBytes: Int) -> Void) {
        worthTelling = receiveBufferBytes
        self.tell = tell
    }

    mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        let message = try decoder.decode(buffer: &buffer)
        if message == nil { shrink(&buffer) }
        let waiting = message == nil && buffer.readableBytes > worthTelling ? buffer.readableBytes : 0
        if waiting != told {
            told = waiting
            tell(waiting)
        }
        return message
    }

    /// Gives back the memory of a long frame that has passed when only the beginning of the next is left in it.
    private func shrink(_ buffer: inout ByteBuffer) {
        guard buffer.readableBytes > 0, buffer.storageCapacity > 4 * max(buffer.readableBytes, worthTelling) else {
            return
        }
        buffer = ByteBuffer(buffer: buffer)
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        try decoder.decodeLast(buffer: &buffer, seenEOF: seenEOF)
    }
}
