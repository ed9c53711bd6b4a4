// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore

/// Cuts frames out of what an agent sends, the first a short one, and tells how much waits for the rest of a frame.
struct MeteredFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    /// Less than this is not worth to be told.
    private static let worthTelling = 64 << 10

    private var decoder = FrameDecoder(firstLimit: Hello.maximumLength)
    private var told = 0
    private let tell: (_ unfinishedBytes: Int) -> Void

    init(tell: @escaping (_ unfinishedBytes: Int) -> Void) { self.tell = tell }

    mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        let message = try decoder.decode(buffer: &buffer)
        let waiting = message == nil && buffer.readableBytes > Self.worthTelling ? buffer.readableBytes : 0
        if waiting != told {
            told = waiting
            tell(waiting)
        }
        return message
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        try decoder.decodeLast(buffer: &buffer, seenEOF: seenEOF)
    }
}
