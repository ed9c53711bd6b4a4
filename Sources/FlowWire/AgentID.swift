// SPDX-License-Identifier: Apache-2.0

/// The identity of one agent process: 16 random bytes, made at its start.
public struct AgentID: Hashable, Sendable {
    /// The size in bytes of an id on the wire.
    package static let byteCount = 16

    /// The id as a number, its first byte the most significant.
    public let bits: UInt128

    /// Returns a new random id.
    public static func random() -> AgentID { AgentID(bits: .random(in: .min ... .max)) }

    /// Makes an id from its number.
    public init(bits: UInt128) { self.bits = bits }

    /// Reads an id from its bytes; throws ``WireError/badAgentID(_:)`` if there are not 16 of them.
    init(_ bytes: UnsafeRawBufferPointer) throws(WireError) {
        guard bytes.count == Self.byteCount else { throw .badAgentID(bytes.count) }
        bits = UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self))
    }
}

extension AgentID: CustomStringConvertible {
    /// The id in hexadecimal, two digits a byte.
    public var description: String {
        let digits = String(bits, radix: 16)
        return String(repeating: "0", count: 2 * Self.byteCount - digits.count) + digits
    }
}
