// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import NIOCore

/// A block that another server process may have inserted, with the agent's batches in it.
public struct Doubt: Hashable, Sendable {
    /// The block's deduplication token.
    public let token: UInt128
    /// The day of the block's rows, in days since the Unix epoch.
    public let day: UInt16
    /// The time since the agent learned the token.
    public let age: Duration
    /// The number of the agent's batches in the block.
    public let batches: UInt32
    /// The network bytes that these batches report.
    public let reportedBytes: UInt64

    /// The most doubts of one message.
    public static let maximumCount = 256

    /// Makes a doubt from its parts.
    public init(token: UInt128, day: UInt16, age: Duration, batches: UInt32, reportedBytes: UInt64) {
        self.token = token
        self.day = day
        self.age = age
        self.batches = batches
        self.reportedBytes = reportedBytes
    }

    /// Reads a message; throws ``WireError``.
    static func list(_ message: Kubenetmon__V1__InDoubt) throws(WireError) -> [Doubt] {
        let tokens = try BlockToken.list(message.token, "InDoubt.token")
        guard tokens.count <= maximumCount else { throw .tooManyDoubts(tokens.count) }
        for (column, found) in [
            ("day", message.n_day), ("age_ms", message.n_age_ms), ("batches", message.n_batches),
            ("reported_bytes", message.n_reported_bytes),
        ] where found != tokens.count {
            throw .columnLength(column: column, found: found, expected: tokens.count)
        }
        var doubts: [Doubt] = []
        for (index, token) in tokens.enumerated() {
            let day = try BlockToken.day(message.day[index])
            // Longer than any process has run; a duration overflows far beyond.
            guard message.age_ms[index] < 1 << 48 else {
                throw .valueOutOfRange(column: "age_ms", value: message.age_ms[index])
            }
            doubts.append(
                Doubt(
                    token: token, day: day, age: .milliseconds(message.age_ms[index]),
                    batches: message.batches[index], reportedBytes: message.reported_bytes[index]))
        }
        return doubts
    }

    /// Returns the message that asks for the fates of blocks, at most ``maximumCount``, as a frame, length field
    /// included.
    public static func frame(_ doubts: [Doubt]) -> ByteBuffer {
        var tokens = BlockToken.bytes(doubts.lazy.map(\.token))
        var days = doubts.map { UInt32($0.day) }
        var ages = doubts.map { UInt64(clamping: $0.age / .milliseconds(1)) }
        var batches = doubts.map(\.batches)
        var bytes = doubts.map(\.reportedBytes)
        return tokens.withUnsafeMutableBufferPointer { tokens in
            days.withUnsafeMutableBufferPointer { days in
                ages.withUnsafeMutableBufferPointer { ages in
                    batches.withUnsafeMutableBufferPointer { batches in
                        bytes.withUnsafeMutableBufferPointer { bytes in
                            var inDoubt = Kubenetmon__V1__InDoubt()
                            kubenetmon__v1__in_doubt__init(&inDoubt)
                            inDoubt.token = ProtobufCBinaryData(len: tokens.count, data: tokens.baseAddress)
                            (inDoubt.n_day, inDoubt.day) = (days.count, days.baseAddress)
                            (inDoubt.n_age_ms, inDoubt.age_ms) = (ages.count, ages.baseAddress)
                            (inDoubt.n_batches, inDoubt.batches) = (batches.count, batches.baseAddress)
                            (inDoubt.n_reported_bytes, inDoubt.reported_bytes) = (bytes.count, bytes.baseAddress)
                            return withUnsafeMutablePointer(to: &inDoubt) { inDoubt in
                                var message = Kubenetmon__V1__AgentMessage()
                                kubenetmon__v1__agent_message__init(&message)
                                message.body_case = KUBENETMON__V1__AGENT_MESSAGE__BODY_IN_DOUBT
                                message.in_doubt = inDoubt
                                return ByteBuffer(framing: &message)
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The fate of a block that another server process may have inserted.
public struct SettledDoubt: Equatable, Sendable {
    /// A block's fate.
    public enum Fate: UInt8, CaseIterable, Sendable {
        /// The block is in ClickHouse: the agent drops its batches.
        case stored = 1
        /// The block is not in ClickHouse and will not be: the agent sends its batches again.
        case notStored
        /// The block may be in ClickHouse: the agent sends its batches again, which may store them twice.
        case uncertain
    }

    /// The block's token.
    public let token: UInt128
    /// The block's fate.
    public let fate: Fate

    /// Makes a value from its parts.
    public init(token: UInt128, fate: Fate) {
        self.token = token
        self.fate = fate
    }

    /// Reads a message; throws ``WireError``. Fates of a later protocol count as uncertain.
    static func list(_ message: Kubenetmon__V1__Settlement) throws(WireError) -> [SettledDoubt] {
        let tokens = try BlockToken.list(message.token, "Settlement.token")
        guard message.fate.len == tokens.count else {
            throw .columnLength(column: "fate", found: message.fate.len, expected: tokens.count)
        }
        return tokens.enumerated().map { index, token in
            SettledDoubt(token: token, fate: Fate(rawValue: message.fate.data[index]) ?? .uncertain)
        }
    }

    /// Calls `body` with a message, which is valid only during the call.
    static func withMessage<Result>(
        _ settled: [SettledDoubt], _ body: (UnsafeMutablePointer<Kubenetmon__V1__Settlement>) -> Result
    ) -> Result {
        var tokens = BlockToken.bytes(settled.lazy.map(\.token))
        var fates = settled.map(\.fate.rawValue)
        return tokens.withUnsafeMutableBufferPointer { tokens in
            fates.withUnsafeMutableBufferPointer { fates in
                var message = Kubenetmon__V1__Settlement()
                kubenetmon__v1__settlement__init(&message)
                message.token = ProtobufCBinaryData(len: tokens.count, data: tokens.baseAddress)
                message.fate = ProtobufCBinaryData(len: fates.count, data: fates.baseAddress)
                return body(&message)
            }
        }
    }
}
