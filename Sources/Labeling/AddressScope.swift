// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The scope in which an address is valid.
enum AddressScope: Equatable, Sendable {
    /// Within our network: RFC 1918, link-local, loopback, IPv6 unique local (RFC 4193), and the networks that our
    /// cloud and the configuration add.
    case `private`
    /// Like `private`, unless a range contains the address: networks of carriers and clouds (RFC 6598).
    case shared
    /// Anywhere.
    case `public`
    /// No host in particular: multicast, broadcast, "this host", and addresses that IANA reserves for future use. Never
    /// the Internet.
    case reserved
}

extension AddressScope {
    /// The special addresses (RFC 6890 and the IANA registries it founded). Documentation addresses (RFC 5737, RFC
    /// 3849) stay public: they represent public addresses.
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

    /// Returns the special addresses and the additional private networks; of a block that is listed twice, the last
    /// counts.
    static func blocks(
        adding privateNetworks: [IPPrefix], in cloud: String
    ) -> [(prefix: IPPrefix, value: AddressScope)] {
        special
            + (WellKnownPlaces.privateNetworks(of: cloud) + privateNetworks).map { (prefix: $0, value: .private) }
    }
}

extension PrefixTable where Value == AddressScope {
    /// Returns the table of ``AddressScope/blocks(adding:in:)``.
    static func addressScopes(adding privateNetworks: [IPPrefix], in cloud: String) -> PrefixTable<AddressScope> {
        PrefixTable(AddressScope.blocks(adding: privateNetworks, in: cloud))
    }
}
