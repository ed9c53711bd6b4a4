// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address as a plain 128-bit value.
///
/// IPv4 addresses are held in their IPv4-mapped form `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2), so that one type,
/// one hash and one comparison serve both families. Such an address never travels in an IPv6 packet
/// (RFC 4291 keeps it for the API), so nothing is lost by reading it as IPv4.
public struct IPAddress: Hashable, Sendable {
    /// The 128 bits of the (mapped) address, most significant bit first as it stands on the wire.
    public let bits: UInt128

    /// Makes an address from its 128 bits.
    @inlinable
    public init(bits: UInt128) {
        self.bits = bits
    }

    /// Makes an IPv4 address from its 32 bits in host order: `0x7f00_0001` is 127.0.0.1.
    @inlinable
    public init(v4 bits: UInt32) {
        self.bits = Self.v4MappedBits | UInt128(bits)
    }

    /// `::ffff:0:0`, the bits that every IPv4-mapped address shares.
    @usableFromInline static let v4MappedBits: UInt128 = 0xffff << 32

    /// The 32 bits of an IPv4 address in host order, nil for IPv6.
    @inlinable
    public var v4: UInt32? {
        bits >> 32 == 0xffff ? UInt32(truncatingIfNeeded: bits) : nil
    }

    /// Whether this is an IPv4 address.
    @inlinable
    public var isIPv4: Bool { bits >> 32 == 0xffff }

    /// Whether this address is one of the host itself: 127.0.0.0/8 (RFC 1122, section 3.2.1.3) or ::1 (RFC 4291).
    @inlinable
    public var isLoopback: Bool {
        if let v4 { return v4 >> 24 == 127 }
        return bits == 1
    }
}

extension IPAddress: Comparable {
    /// Orders addresses by their bits; IPv4 addresses sort among themselves as usual.
    @inlinable
    public static func < (left: IPAddress, right: IPAddress) -> Bool { left.bits < right.bits }
}
