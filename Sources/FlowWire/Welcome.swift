// SPDX-License-Identifier: Apache-2.0

import CFlowProto
public import FlowModel

/// A server's answer to ``Hello``, in which it identifies itself.
public struct Welcome: Equatable, Sendable {
    /// The identity of the server process: a random number, made at its start.
    public let serverID: UInt128
    /// The address of the server's end of the connection. It differs from the address that the agent has connected to
    /// if that was translated.
    public let address: IPAddress
    /// The port of the server's end of the connection.
    public let port: UInt16
    /// Whether the server finds out the fate of blocks (``Doubt``).
    public let settlesDoubts: Bool
    /// The bytes of unacknowledged frames that the agent may have sent on the connection; 0 for no limit.
    public let grantedBytes: UInt64

    private static let numberLength = MemoryLayout<UInt128>.size

    /// Makes a welcome from its parts.
    public init(
        serverID: UInt128, address: IPAddress, port: UInt16, settlesDoubts: Bool = false, grantedBytes: UInt64 = 0
    ) {
        self.serverID = serverID
        self.address = address
        self.port = port
        self.settlesDoubts = settlesDoubts
        self.grantedBytes = grantedBytes
    }

    /// Reads a message; throws ``WireError/badWelcome(field:length:)`` or ``WireError/valueOutOfRange(column:value:)``.
    init(_ message: Kubenetmon__V1__Welcome) throws(WireError) {
        serverID = try Self.number(message.server_id, "server_id")
        address = IPAddress(bits: try Self.number(message.address, "address"))
        guard let port = UInt16(exactly: message.port) else {
            throw .valueOutOfRange(column: "port", value: UInt64(message.port))
        }
        self.port = port
        settlesDoubts = message.settles_doubts != 0
        grantedBytes = message.granted_bytes
    }

    private static func number(_ data: ProtobufCBinaryData, _ field: String) throws(WireError) -> UInt128 {
        guard data.len == numberLength else { throw .badWelcome(field: field, length: data.len) }
        return UInt128(bigEndian: UnsafeRawPointer(data.data).loadUnaligned(as: UInt128.self))
    }

    /// Calls `body` with the message, which is valid only during the call.
    func withMessage<Result>(_ body: (UnsafeMutablePointer<Kubenetmon__V1__Welcome>) -> Result) -> Result {
        var id = withUnsafeBytes(of: serverID.bigEndian, Array.init)
        var address = withUnsafeBytes(of: address.bits.bigEndian, Array.init)
        return id.withUnsafeMutableBufferPointer { id in
            address.withUnsafeMutableBufferPointer { address in
                var message = Kubenetmon__V1__Welcome()
                kubenetmon__v1__welcome__init(&message)
                message.server_id = ProtobufCBinaryData(len: id.count, data: id.baseAddress)
                message.address = ProtobufCBinaryData(len: address.count, data: address.baseAddress)
                message.port = UInt32(port)
                message.settles_doubts = settlesDoubts ? 1 : 0
                message.granted_bytes = grantedBytes
                return body(&message)
            }
        }
    }
}
