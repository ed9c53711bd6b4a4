// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// How far an address reaches.
enum AddressScope: Equatable, Sendable {
    /// Only within the own network: RFC 1918, link-local, loopback, IPv6 unique local (RFC 4193), what the own cloud adds,
    /// and what the configuration adds.
    case `private`
    /// As `private`, unless it is in a range: carriers' and clouds' networks (RFC 6598).
    case shared
    /// Anywhere.
    case `public`
    /// Nobody in particular: multicast, broadcast, "this host", and what IANA keeps for the future. Never the Internet.
    case reserved
}

extension AddressScope {
    /// The special addresses (RFC 6890 and the IANA registries it founded). Documentation addresses (RFC 5737, RFC 3849)
    /// stay public: they stand for public ones.
    static let special: [(prefix: IPPrefix, value: AddressScope)] = [
        ("0.0.0.0/8", .reserved), ("10.0.0.0/8", .private), ("100.64.0.0/10", .shared), ("127.0.0.0/8", .private),
        ("169.254.0.0/16", .private), ("172.16.0.0/12", .private), ("192.168.0.0/16", .private),
        ("192.0.0.0/24", .reserved), ("198.18.0.0/15", .reserved), ("224.0.0.0/4", .reserved),
        ("240.0.0.0/4", .reserved),
        ("::/128", .reserved), ("100::/64", .reserved), ("::1/128", .private), ("fc00::/7", .private),
        // Translation between IPv4 and IPv6 within a network (RFC 8215).
        ("64:ff9b:1::/48", .private),
        ("fe80::/10", .private),
        ("ff00::/8", .reserved),
    ].compactMap { text, scope in IPPrefix(text).map { (prefix: $0, value: scope) } }

    /// Special addresses and further networks that count as private; of a block that is there twice, the last counts.
    static func blocks(
        adding privateNetworks: [IPPrefix], in cloud: String
    ) -> [(prefix: IPPrefix, value: AddressScope)] {
        special
            + (WellKnownPlaces.privateNetworks(of: cloud) + privateNetworks).map { (prefix: $0, value: .private) }
    }
}

extension PrefixTable where Value == AddressScope {
    /// The table of ``AddressScope/blocks(adding:in:)``.
    static func addressScopes(adding privateNetworks: [IPPrefix], in cloud: String) -> PrefixTable<AddressScope> {
        PrefixTable(AddressScope.blocks(adding: privateNetworks, in: cloud))
    }
}
