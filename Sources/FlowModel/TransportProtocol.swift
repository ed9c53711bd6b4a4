// SPDX-License-Identifier: Apache-2.0

/// The number in the IPv4 protocol or IPv6 next-header field (IANA "Assigned Internet Protocol Numbers").
public struct TransportProtocol: RawRepresentable, Hashable, Sendable {
    /// The protocol's number.
    public let rawValue: UInt8

    /// Makes a protocol from its number.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Transmission Control Protocol (RFC 9293).
    @inlinable
    public static var tcp: TransportProtocol { TransportProtocol(rawValue: 6) }
    /// User Datagram Protocol (RFC 768).
    @inlinable
    public static var udp: TransportProtocol { TransportProtocol(rawValue: 17) }
    /// Stream Control Transmission Protocol (RFC 9260).
    @inlinable
    public static var sctp: TransportProtocol { TransportProtocol(rawValue: 132) }

    /// The protocols that the kernel's conntrack can track, by the names that netfilter and /etc/protocols give them.
    ///
    /// The column `proto`, the agent's setting `protocols` and `explain` use these names.
    public static let byName: [String: TransportProtocol] = [
        "icmp": TransportProtocol(rawValue: 1),
        "tcp": .tcp,
        "udp": .udp,
        "dccp": TransportProtocol(rawValue: 33),
        "gre": TransportProtocol(rawValue: 47),
        "icmpv6": TransportProtocol(rawValue: 58),
        "sctp": .sctp,
        "udplite": TransportProtocol(rawValue: 136),
    ]

    private static let names = [TransportProtocol: String](
        uniqueKeysWithValues: byName.map { name, transport in (transport, name) })

    /// The protocol's name; nil for a protocol that is not in ``byName``.
    public var name: String? { Self.names[self] }
}

extension TransportProtocol: LosslessStringConvertible {
    /// Reads a name of ``byName`` in any case, or a number from 0 to 255; nil for anything else.
    public init?(_ text: String) {
        if let transport = Self.byName[text.lowercased()] {
            self = transport
        } else if let number = UInt8(text) {
            rawValue = number
        } else {
            return nil
        }
    }

    /// The name, or the number of a protocol without a name, as in the column `proto`.
    public var description: String { name ?? "\(rawValue)" }
}
