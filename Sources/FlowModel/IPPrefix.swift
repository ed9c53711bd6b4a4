// SPDX-License-Identifier: Apache-2.0

/// A block of addresses in CIDR notation (RFC 4632): all addresses that share the first `length` bits.
public struct IPPrefix: Hashable, Sendable {
    /// The lowest address of the block; its host bits are zero.
    public let network: IPAddress
    /// The number of leading bits that the block's addresses share: 0…32 for IPv4, 0…128 for IPv6.
    public let length: Int

    /// Makes the block of `length` leading bits that holds `address`; nil if the family has no such length.
    public init?(containing address: IPAddress, length: Int) {
        guard (0...(address.isIPv4 ? 32 : 128)).contains(length) else { return nil }
        let mask = Self.mask(mappedLength: address.isIPv4 ? length + 96 : length)
        network = IPAddress(bits: address.bits & mask)
        self.length = length
    }

    /// Reads `10.0.0.0/8` or `2001:db8::/32`; nil for anything else. That includes a block with host bits set, which is
    /// usually a typing error.
    public init?(_ text: some StringProtocol) {
        guard let slash = text.firstIndex(of: "/"),
            let address = IPAddress(text[..<slash]),
            let length = UInt8(text[text.index(after: slash)...]),
            // Rejects "+8" and "08".
            text.hasSuffix("/\(length)"),
            let prefix = IPPrefix(containing: address, length: Int(length)),
            prefix.network == address
        else { return nil }
        self = prefix
    }

    /// The highest address of the block.
    public var last: IPAddress {
        IPAddress(bits: network.bits | ~Self.mask(mappedLength: mappedLength))
    }

    /// Whether the block holds `address`. An IPv6 block holds no IPv4 address, although `::/0` holds their mapped form.
    public func contains(_ address: IPAddress) -> Bool {
        address.isIPv4 == network.isIPv4 && address.bits & Self.mask(mappedLength: mappedLength) == network.bits
    }

    /// The block's length in the 128-bit form: 96 bits more for IPv4.
    private var mappedLength: Int { network.isIPv4 ? length + 96 : length }

    private static func mask(mappedLength: Int) -> UInt128 {
        mappedLength == 0 ? 0 : UInt128.max << (128 - UInt128(mappedLength))
    }
}

extension IPPrefix: CustomStringConvertible {
    /// The block in CIDR notation.
    public var description: String { "\(network)/\(length)" }
}
