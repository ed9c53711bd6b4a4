// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import NIOCore

/// A message from a server to an agent.
public enum ServerMessage: Equatable, Sendable {
    /// The batches with these sequence numbers are in ClickHouse; the agent may drop them. From now on, it may have as
    /// many bytes of unacknowledged frames in flight as are granted; 0 changes nothing.
    case ack([UInt64], grantedBytes: UInt64 = 0)
    /// The server asks the agent to reconnect, and gives the reason. A version other than 0 is the highest protocol
    /// version that the server speaks: the agent's is higher. With `isRefusal`, the server rejects the agent, and the
    /// reason says what must change.
    case goAway(reason: String, supportedProtocolVersion: UInt32 = 0, isRefusal: Bool = false)
    /// The server has admitted the agent.
    case welcome(Welcome)
    /// Batches of this connection are in a block, which the server inserts once the agent has confirmed it.
    case held(Held)
    /// The fates of blocks that the agent has asked for.
    case settlement([SettledDoubt])
    /// A message of a later protocol; to be ignored.
    case unknown

    /// Reads the protobuf message of one frame; throws ``WireError``.
    public init(decoding frame: ByteBuffer) throws(WireError) {
        let unpacked = try frame.unpack(.serverMessage, kubenetmon__v1__server_message__unpack)
        defer { kubenetmon__v1__server_message__free_unpacked(unpacked, nil) }
        switch unpacked.pointee.body_case {
        case KUBENETMON__V1__SERVER_MESSAGE__BODY_ACK:
            let ack = unpacked.pointee.ack.pointee
            self = .ack(
                Array(UnsafeBufferPointer(start: ack.sequence, count: ack.n_sequence)),
                grantedBytes: ack.granted_bytes)
        case KUBENETMON__V1__SERVER_MESSAGE__BODY_GO_AWAY:
            let goAway = unpacked.pointee.go_away.pointee
            self = .goAway(
                reason: String(cString: goAway.reason),
                supportedProtocolVersion: goAway.supported_protocol_version,
                isRefusal: goAway.refused != 0)
        case KUBENETMON__V1__SERVER_MESSAGE__BODY_WELCOME:
            self = .welcome(try Welcome(unpacked.pointee.welcome.pointee))
        case KUBENETMON__V1__SERVER_MESSAGE__BODY_HELD:
            self = .held(try Held(unpacked.pointee.held.pointee))
        case KUBENETMON__V1__SERVER_MESSAGE__BODY_SETTLEMENT:
            self = .settlement(try SettledDoubt.list(unpacked.pointee.settlement.pointee))
        default:
            self = .unknown
        }
    }

    /// Returns the message as a frame, length field included.
    public func frame() -> ByteBuffer {
        var message = Kubenetmon__V1__ServerMessage()
        kubenetmon__v1__server_message__init(&message)
        switch self {
        case .ack(var sequences, let grantedBytes):
            return sequences.withUnsafeMutableBufferPointer { sequences in
                var ack = Kubenetmon__V1__Ack()
                kubenetmon__v1__ack__init(&ack)
                ack.n_sequence = sequences.count
                ack.sequence = sequences.baseAddress
                ack.granted_bytes = grantedBytes
                return withUnsafeMutablePointer(to: &ack) { ack in
                    message.body_case = KUBENETMON__V1__SERVER_MESSAGE__BODY_ACK
                    message.ack = ack
                    return ByteBuffer(framing: &message)
                }
            }
        case .goAway(let reason, let version, let isRefusal):
            return reason.withMutableCString { reason in
                var goAway = Kubenetmon__V1__GoAway()
                kubenetmon__v1__go_away__init(&goAway)
                goAway.reason = reason
                goAway.supported_protocol_version = version
                goAway.refused = isRefusal ? 1 : 0
                return withUnsafeMutablePointer(to: &goAway) { goAway in
                    message.body_case = KUBENETMON__V1__SERVER_MESSAGE__BODY_GO_AWAY
                    message.go_away = goAway
                    return ByteBuffer(framing: &message)
                }
            }
        case .welcome(let welcome):
            return welcome.withMessage { welcome in
                message.body_case = KUBENETMON__V1__SERVER_MESSAGE__BODY_WELCOME
                message.welcome = welcome
                return ByteBuffer(framing: &message)
            }
        case .held(let held):
            return held.withMessage { held in
                message.body_case = KUBENETMON__V1__SERVER_MESSAGE__BODY_HELD
                message.held = held
                return ByteBuffer(framing: &message)
            }
        case .settlement(let settled):
            return SettledDoubt.withMessage(settled) { settlement in
                message.body_case = KUBENETMON__V1__SERVER_MESSAGE__BODY_SETTLEMENT
                message.settlement = settlement
                return ByteBuffer(framing: &message)
            }
        case .unknown:
            return ByteBuffer(framing: &message)
        }
    }
}
