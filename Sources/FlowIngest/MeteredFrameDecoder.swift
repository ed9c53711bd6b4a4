// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore

/// Decodes an agent's frames, of which the first must be short, and reports the bytes of an unfinished frame.
struct MeteredFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    /// Unfinished frames up to this size fit the connection's receive buffer and are not reported.
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

    /// Releases the memory of a decoded long frame when the buffer holds only the beginning of the next one.
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
