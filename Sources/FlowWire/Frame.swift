// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The framing of messages in the byte stream: a 4-byte big-endian length, then that many bytes of protobuf.
public enum Frame {
    /// The largest length that a frame may announce, in bytes. A larger one closes the connection before any of the
    /// message is read.
    public static let maximumLength = 1 << 20

    /// The size in bytes of the length field.
    public static let headerLength = 4
}

/// Splits the received bytes into frames and passes on the protobuf message of each, without its length field.
///
/// Throws ``WireError/frameTooLong(_:limit:)`` and ``WireError/truncatedFrame(_:)``.
public struct FrameDecoder: NIOSingleStepByteToMessageDecoder {
    /// One protobuf message.
    public typealias InboundOut = ByteBuffer

    /// The largest length that the next frame may announce, in bytes.
    private var limit: Int

    /// Makes a decoder at the start of a stream.
    ///
    /// - Parameter firstLimit: The largest length that the first frame may announce, in bytes.
    public init(firstLimit: Int = Frame.maximumLength) { limit = firstLimit }

    /// Returns the next complete message in `buffer`; nil if there is none yet.
    public mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        guard length <= limit else { throw WireError.frameTooLong(Int(length), limit: limit) }
        guard buffer.readableBytes >= Frame.headerLength + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: Frame.headerLength)
        limit = Frame.maximumLength
        return buffer.readSlice(length: Int(length))
    }

    /// Returns the next complete message after the peer has closed; nil if `buffer` is empty. A partial frame is an
    /// error.
    public mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? {
        if let message = try decode(buffer: &buffer) { return message }
        guard buffer.readableBytes == 0 else { throw WireError.truncatedFrame(buffer.readableBytes) }
        return nil
    }
}
