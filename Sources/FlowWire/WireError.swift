// SPDX-License-Identifier: Apache-2.0

/// A reason why bytes from a peer are not a message. Each error closes that peer's connection and affects no other.
public enum WireError: Error, Equatable {
    /// A frame announces this many bytes, more than are allowed at this point.
    case frameTooLong(Int, limit: Int)
    /// The peer closed the connection after this many bytes of an unfinished frame.
    case truncatedFrame(Int)
    /// A frame of this many bytes is not the protobuf message that was expected.
    case notAMessage(Int)
    /// A message has more fields than this, known and unknown together.
    case tooManyFields(limit: Int)
    /// `Hello.agent_id` has this many bytes instead of 16.
    case badAgentID(Int)
    /// This field of `Welcome` has this many bytes instead of 16.
    case badWelcome(field: String, length: Int)
    /// This field has this many bytes, which are not one token of 16, or not a sequence of such.
    case badToken(field: String, length: Int)
    /// `InDoubt` names this many blocks, more than ``Doubt/maximumCount``.
    case tooManyDoubts(Int)
    /// The length of a batch's column does not match the number of flows.
    case columnLength(column: String, found: Int, expected: Int)
    /// A batch fills the columns of both address families.
    case mixedFamilies
    /// A value of a column is out of its range, such as a port above 65,535.
    case valueOutOfRange(column: String, value: UInt64)
    /// `translated` names a flow that does not exist, or is not ascending.
    case badTranslatedIndex(Int)
    /// `zoned` names a flow that does not exist, or is not ascending.
    case badZonedIndex(Int)
    /// `HostAddresses.ipv6` has this many bytes, not a multiple of 16.
    case badHostAddresses(Int)
    /// An agent sends this many addresses of its host, more than ``Hello/maximumHostAddresses``.
    case tooManyHostAddresses(Int)

    /// All values of ``reason``.
    public static let reasons = [
        "frame_too_long", "truncated_frame", "not_a_message", "too_many_fields", "malformed_message",
    ]

    /// A short name for counters: one of ``reasons``.
    public var reason: String {
        switch self {
        case .frameTooLong: "frame_too_long"
        case .truncatedFrame: "truncated_frame"
        case .notAMessage: "not_a_message"
        case .tooManyFields: "too_many_fields"
        case .badAgentID, .badWelcome, .badToken, .tooManyDoubts, .columnLength, .mixedFamilies, .valueOutOfRange,
            .badTranslatedIndex, .badZonedIndex, .badHostAddresses, .tooManyHostAddresses:
            "malformed_message"
        }
    }
}

extension WireError: CustomStringConvertible {
    /// The error as text for a log.
    public var description: String {
        switch self {
        case .frameTooLong(let length, let limit):
            """
            a frame announces \(length) bytes, and the limit is \(limit): the peer does not speak the kubenetmon \
            protocol, or only one side uses TLS
            """
        case .truncatedFrame(let left):
            "the peer closed the connection within a frame, of which \(left) bytes had arrived"
        case .notAMessage(let length): "a frame of \(length) bytes is not a kubenetmon message"
        case .tooManyFields(let limit):
            "a message has more than \(limit) fields: the peer is not a kubenetmon-agent, or its columns are not packed"
        case .badAgentID(let length): "Hello.agent_id has \(length) bytes instead of \(AgentID.byteCount)"
        case .badWelcome(let field, let length): "Welcome.\(field) has \(length) bytes instead of 16"
        case .badToken(let field, let length): "\(field) has \(length) bytes, and a token has 16"
        case .tooManyDoubts(let count):
            "an agent asks for \(count) blocks in one message, and the limit is \(Doubt.maximumCount)"
        case .columnLength(let column, let found, let expected):
            "column \(column) has \(found) entries where \(expected) were expected"
        case .mixedFamilies: "a batch fills both IPv4 and IPv6 columns"
        case .valueOutOfRange(let column, let value): "column \(column) holds \(value), which is out of range"
        case .badTranslatedIndex(let index):
            "column translated: entry \(index) is not the index of a flow, or not in ascending order"
        case .badZonedIndex(let index):
            "column zoned: entry \(index) is not the index of a flow, or not in ascending order"
        case .badHostAddresses(let length): "HostAddresses.ipv6 has \(length) bytes, which is not a multiple of 16"
        case .tooManyHostAddresses(let count):
            "an agent reports \(count) host addresses, and the limit is \(Hello.maximumHostAddresses)"
        }
    }
}
