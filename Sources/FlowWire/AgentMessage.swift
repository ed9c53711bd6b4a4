// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import FlowModel
public import NIOCore
import Secrets

/// A message from an agent to a server.
public enum AgentMessage: ~Copyable {
    /// The first message of a connection.
    case hello(Hello)
    /// A batch of flows.
    case batch(ReceivedFlowBatch)
    /// The addresses of the agent's host, replacing those sent before.
    case hostAddresses([IPAddress])
    /// The agent closes this connection and sends its unacknowledged batches again on another.
    case leaving
    /// The agent has recorded the block of some of its batches.
    case confirmation(HeldConfirmation)
    /// The agent asks for the fates of blocks before it sends their batches again.
    case inDoubt([Doubt])
    /// A heartbeat, or a message of a later protocol; to be ignored.
    case unknown

    /// A heartbeat: the frame of a message without a body.
    public static let signOfLife = ByteBuffer(integer: UInt32(0))

    /// The message ``leaving``: field 4 of `AgentMessage`, without content.
    private static let leavingMessage: [UInt8] = [0x22, 0]

    /// The frame of ``leaving``.
    public static let leavingFrame = ByteBuffer(bytes: [0, 0, 0, UInt8(leavingMessage.count)] + leavingMessage)

    /// The tags of ``leaving``, ``confirmation(_:)`` and ``inDoubt(_:)``.
    private static let urgentTags: [UInt8] = [0x22, 0x2a, 0x32]

    /// Whether a frame's message begins with a body that brings no flows and for which a server may wait, so that it is
    /// read even while batches are not.
    public static func isUrgent(_ message: ByteBufferView) -> Bool {
        message.first.map(urgentTags.contains) ?? false
    }

    /// Whether a frame's message is a heartbeat: it has no body, and nothing beside the time at which it was sent.
    public static func isHeartbeat(_ message: ByteBuffer) -> Bool { SendTime.isAll(of: message) }

    /// Makes the frame with the addresses of the agent's host, at most ``Hello/maximumHostAddresses``.
    public static func frame(hostAddresses: [IPAddress]) -> ByteBuffer {
        var columns = HostAddressColumns(hostAddresses)
        return columns.withMessage { addresses in
            var message = Kubenetmon__V1__AgentMessage()
            kubenetmon__v1__agent_message__init(&message)
            message.body_case = KUBENETMON__V1__AGENT_MESSAGE__BODY_HOST_ADDRESSES
            message.host_addresses = addresses
            return ByteBuffer(framing: &message)
        }
    }

    /// Reads the protobuf message of one frame; throws ``WireError``.
    public init(decoding frame: ByteBuffer) throws(WireError) {
        var time: SendTime?
        try self.init(decoding: frame, sentAt: &time)
    }

    /// Reads the protobuf message of one frame; throws ``WireError``. `time` is nil afterwards if the message does not
    /// say when it was sent.
    public init(decoding frame: ByteBuffer, sentAt time: inout SendTime?) throws(WireError) {
        let unpacked = try frame.unpack(.agentMessage, kubenetmon__v1__agent_message__unpack)
        let message = UnpackedAgentMessage(unpacked)
        time = SendTime(
            milliseconds: Int64(clamping: unpacked.pointee.sent_at_ms),
            clockSetMilliseconds: unpacked.pointee.clock_set_ms)
        switch unpacked.pointee.body_case {
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_HELLO:
            self = .hello(try Hello(unpacked.pointee.hello.pointee))
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_BATCH:
            self = .batch(try ReceivedFlowBatch(message))
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_HOST_ADDRESSES:
            self = .hostAddresses(try HostAddressColumns.addresses(of: unpacked.pointee.host_addresses.pointee))
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_LEAVING:
            self = .leaving
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_CONFIRMATION:
            self = .confirmation(try HeldConfirmation(unpacked.pointee.confirmation.pointee))
        case KUBENETMON__V1__AGENT_MESSAGE__BODY_IN_DOUBT:
            self = .inDoubt(try Doubt.list(unpacked.pointee.in_doubt.pointee))
        default:
            self = .unknown
        }
    }
}

/// Owns a message that protobuf-c has allocated.
struct UnpackedAgentMessage: ~Copyable {
    let pointer: UnsafeMutablePointer<Kubenetmon__V1__AgentMessage>

    init(_ pointer: UnsafeMutablePointer<Kubenetmon__V1__AgentMessage>) { self.pointer = pointer }

    deinit { kubenetmon__v1__agent_message__free_unpacked(pointer, nil) }
}

extension Hello {
    init(_ message: Kubenetmon__V1__Hello) throws(WireError) {
        var addresses: [IPAddress]?
        if let told = message.host_addresses { addresses = try HostAddressColumns.addresses(of: told.pointee) }
        let id = UnsafeRawBufferPointer(start: message.agent_id.data, count: message.agent_id.len)
        self.init(
            protocolVersion: message.protocol_version,
            nodeName: String(cString: message.node_name),
            agentID: try AgentID(id),
            softwareVersion: String(cString: message.software_version),
            token: message.token.pointee == 0 ? nil : BearerToken(String(cString: message.token)),
            hostAddresses: addresses,
            confirmsHeld: message.confirms_held != 0)
    }

    /// Returns the `Hello` as a frame, length field included.
    public func frame() -> ByteBuffer {
        var columns = HostAddressColumns(hostAddresses ?? [])
        return columns.withMessage { addresses in
            withUnsafeTemporaryAllocation(byteCount: AgentID.byteCount, alignment: 1) { id in
                id.storeBytes(of: agentID.bits.bigEndian, as: UInt128.self)
                return nodeName.withMutableCString { node in
                    softwareVersion.withMutableCString { version in
                        (token?.secret ?? "").withMutableCString { token in
                            var hello = Kubenetmon__V1__Hello()
                            kubenetmon__v1__hello__init(&hello)
                            hello.protocol_version = protocolVersion
                            hello.node_name = node
                            hello.software_version = version
                            hello.token = token
                            hello.agent_id = ProtobufCBinaryData(
                                len: id.count, data: id.baseAddress?.assumingMemoryBound(to: UInt8.self))
                            if hostAddresses != nil { hello.host_addresses = addresses }
                            hello.confirms_held = confirmsHeld ? 1 : 0
                            return withUnsafeMutablePointer(to: &hello) { hello in
                                var message = Kubenetmon__V1__AgentMessage()
                                kubenetmon__v1__agent_message__init(&message)
                                message.body_case = KUBENETMON__V1__AGENT_MESSAGE__BODY_HELLO
                                message.hello = hello
                                return ByteBuffer(framing: &message)
                            }
                        }
                    }
                }
            }
        }
    }
}

extension ByteBuffer {
    /// Unpacks a message of a shape with its `…__unpack` function; throws if it has too many fields or is malformed.
    func unpack<Message>(
        _ shape: MessageShape,
        _ unpack: (UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?)
            -> UnsafeMutablePointer<Message>?
    ) throws(WireError) -> UnsafeMutablePointer<Message> {
        let (message, problem) = withUnsafeReadableBytes { bytes -> (UnsafeMutablePointer<Message>?, WireError?) in
            if let problem = MessageFields.problem(in: bytes, of: shape) { return (nil, problem) }
            return (unpack(nil, bytes.count, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)), nil)
        }
        guard let message else { throw problem ?? .notAMessage(readableBytes) }
        return message
    }

    /// Packs a message into a frame, length field included.
    init(framing message: inout Kubenetmon__V1__AgentMessage) {
        let length = kubenetmon__v1__agent_message__get_packed_size(&message)
        self.init(framingBytes: length) { kubenetmon__v1__agent_message__pack(&message, $0) }
    }

    /// Packs a message into a frame, length field included.
    init(framing message: inout Kubenetmon__V1__ServerMessage) {
        let length = kubenetmon__v1__server_message__get_packed_size(&message)
        self.init(framingBytes: length) { kubenetmon__v1__server_message__pack(&message, $0) }
    }

    /// Makes a frame whose message of `length` bytes is written by `pack`.
    private init(framingBytes length: Int, pack: (UnsafeMutablePointer<UInt8>?) -> Int) {
        precondition(length <= Frame.maximumLength, "a message of \(length) bytes exceeds the limit of a frame")
        self = ByteBufferAllocator().buffer(capacity: Frame.headerLength + length)
        writeInteger(UInt32(length))
        writeWithUnsafeMutableBytes(minimumWritableBytes: length) { bytes in
            pack(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        }
    }
}

extension String {
    /// Calls `body` with the string as the mutable C string that protobuf-c's structures require but never write to.
    func withMutableCString<Result>(_ body: (UnsafeMutablePointer<CChar>) -> Result) -> Result {
        withCString { body(UnsafeMutablePointer(mutating: $0)) }
    }
}
