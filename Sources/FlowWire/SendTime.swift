// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// The time at which an agent sends a message, by its node's clock.
public struct SendTime: Hashable, Sendable {
    /// The limit on both parts, in milliseconds: more than 100,000 years. Sums of a few of them do not overflow.
    public static let maximumMilliseconds: Int64 = 1 << 52

    /// The time in milliseconds since the Unix epoch. For a batch, it is by the clock as that was set when the batch was
    /// observed.
    public let milliseconds: Int64
    /// How far the clock was set forward between the opening of the connection and the setting that ``milliseconds``
    /// goes by, in milliseconds; negative if it was set back.
    public let clockSetMilliseconds: Int64

    /// Makes a time from its parts; nil if a part is beyond ``maximumMilliseconds`` or the time is not after the epoch.
    public init?(milliseconds: Int64, clockSetMilliseconds: Int64 = 0) {
        guard milliseconds > 0, milliseconds <= Self.maximumMilliseconds,
            clockSetMilliseconds.magnitude <= UInt64(Self.maximumMilliseconds)
        else { return nil }
        self.milliseconds = milliseconds
        self.clockSetMilliseconds = clockSetMilliseconds
    }

    /// The time by the clock as it was set when the connection was opened. It advances steadily on a connection.
    public var steadyMilliseconds: Int64 { milliseconds - clockSetMilliseconds }

    // MARK: - On the wire

    private static let sentAtTag: [UInt8] = [15 << 3]
    private static let clockSetTag: [UInt8] = [0x80, 0x01]  // 16 << 3
    /// Frames up to this size are copied: a TLS record of their own for the first bytes would cost more.
    private static let maximumCopiedBytes = 4 << 10

    /// Returns the bytes that send a frame with this time, to be written one after the other. The message gets the time
    /// ahead of its body, so that a long frame is not copied.
    ///
    /// - Parameters:
    ///   - frame: A frame whose message has no time.
    ///   - maximumLength: The limit on the message's length; a message that would become longer is sent without a time.
    public func stamp(_ frame: ByteBuffer, maximumLength: Int = Frame.maximumLength) -> [ByteBuffer] {
        var message = frame
        message.moveReaderIndex(forwardBy: min(Frame.headerLength, message.readableBytes))
        var fields = Self.sentAtTag
        Self.append(UInt64(milliseconds), to: &fields)
        if clockSetMilliseconds != 0 {
            fields += Self.clockSetTag
            Self.append(UInt64(bitPattern: clockSetMilliseconds << 1 ^ clockSetMilliseconds >> 63), to: &fields)
        }
        let length = fields.count + message.readableBytes
        guard length <= maximumLength else { return [frame] }
        let isCopied = length <= Self.maximumCopiedBytes
        var head = ByteBufferAllocator().buffer(
            capacity: Frame.headerLength + fields.count + (isCopied ? message.readableBytes : 0))
        head.writeInteger(UInt32(length))
        head.writeBytes(fields)
        guard isCopied else { return [head, message] }
        head.writeImmutableBuffer(message)
        return [head]
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Whether a message consists of the fields of a time, or is empty.
    static func isAll(of message: ByteBuffer) -> Bool {
        // A tag of two bytes and a value of ten, for each field.
        guard message.readableBytes <= 24 else { return false }
        var rest = message.readableBytesView[...]
        while !rest.isEmpty {
            if rest.starts(with: sentAtTag) {
                rest = rest.dropFirst(sentAtTag.count)
            } else if rest.starts(with: clockSetTag) {
                rest = rest.dropFirst(clockSetTag.count)
            } else {
                return false
            }
            guard let last = rest.firstIndex(where: { $0 < 0x80 }) else { return false }
            rest = rest[(last + 1)...]
        }
        return true
    }
}
