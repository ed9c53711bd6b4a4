// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import NIOCore

/// The block in which a server inserts batches of a connection.
public struct Held: Equatable, Sendable {
    /// The deduplication token under which ClickHouse receives the block.
    public let token: UInt128
    /// The day of the block's rows, in days since the Unix epoch.
    public let day: UInt16
    /// The sequence numbers of the connection's batches in the block.
    public let sequences: [UInt64]

    /// The most sequence numbers of one message, whatever their values: each takes at most 10 bytes.
    public static let maximumSequences = 65_536

    /// Makes a value from its parts.
    public init(token: UInt128, day: UInt16, sequences: [UInt64]) {
        self.token = token
        self.day = day
        self.sequences = sequences
    }

    /// Reads a message; throws ``WireError/badToken(field:length:)`` or ``WireError/valueOutOfRange(column:value:)``.
    init(_ message: Kubenetmon__V1__Held) throws(WireError) {
        token = try BlockToken.one(message.token, "Held.token")
        day = try BlockToken.day(message.day)
        sequences = Array(UnsafeBufferPointer(start: message.sequence, count: message.n_sequence))
    }

    /// Calls `body` with the message, which is valid only during the call.
    func withMessage<Result>(_ body: (UnsafeMutablePointer<Kubenetmon__V1__Held>) -> Result) -> Result {
        var (token, sequences) = (BlockToken.bytes([token]), sequences)
        return token.withUnsafeMutableBufferPointer { token in
            sequences.withUnsafeMutableBufferPointer { sequences in
                var message = Kubenetmon__V1__Held()
                kubenetmon__v1__held__init(&message)
                message.token = ProtobufCBinaryData(len: token.count, data: token.baseAddress)
                message.day = UInt32(day)
                (message.n_sequence, message.sequence) = (sequences.count, sequences.baseAddress)
                return body(&message)
            }
        }
    }
}

/// An agent's answer to ``Held``.
public struct HeldConfirmation: Equatable, Sendable {
    /// The block's token.
    public let token: UInt128
    /// The sequence numbers of the batches that the agent still keeps.
    public let sequences: [UInt64]

    /// Makes a confirmation from its parts.
    public init(token: UInt128, sequences: [UInt64]) {
        self.token = token
        self.sequences = sequences
    }

    /// Reads a message; throws ``WireError/badToken(field:length:)``.
    init(_ message: Kubenetmon__V1__Confirmation) throws(WireError) {
        token = try BlockToken.one(message.token, "Confirmation.token")
        sequences = Array(UnsafeBufferPointer(start: message.sequence, count: message.n_sequence))
    }

    /// Returns the message as a frame, length field included.
    public func frame() -> ByteBuffer {
        var (token, sequences) = (BlockToken.bytes([token]), sequences)
        return token.withUnsafeMutableBufferPointer { token in
            sequences.withUnsafeMutableBufferPointer { sequences in
                var confirmation = Kubenetmon__V1__Confirmation()
                kubenetmon__v1__confirmation__init(&confirmation)
                confirmation.token = ProtobufCBinaryData(len: token.count, data: token.baseAddress)
                (confirmation.n_sequence, confirmation.sequence) = (sequences.count, sequences.baseAddress)
                return withUnsafeMutablePointer(to: &confirmation) { confirmation in
                    var message = Kubenetmon__V1__AgentMessage()
                    kubenetmon__v1__agent_message__init(&message)
                    message.body_case = KUBENETMON__V1__AGENT_MESSAGE__BODY_CONFIRMATION
                    message.confirmation = confirmation
                    return ByteBuffer(framing: &message)
                }
            }
        }
    }
}
