// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The addresses of nodes' bridges, tunnels and further interfaces, as their agents report them.
///
/// An address always counts on its own node. It counts on all nodes if it is private and no other node reports it: a
/// bridge such as Docker's has the same address on every node. A public address counts on its own node alone.
struct HostAddresses: Sendable {
    /// By the node's number; nil if its agent has reported nothing.
    private var own: [AddressTable?] = []
    /// The number of the only node that reports a private address.
    private var unique = AddressTable()

    /// Whether a node's agent has reported an address as its host's.
    func isOwn(_ address: IPAddress, ofNode node: Int32) -> Bool { own(ofNode: node)?[address] != nil }

    /// Returns the addresses that a node's agent has reported, for repeated look-ups; nil if it has reported nothing.
    func own(ofNode node: Int32) -> AddressTable? { own.indices.contains(Int(node)) ? own[Int(node)] : nil }

    /// Whether a node's agent has reported its host's addresses.
    func areTold(ofNode node: Int32) -> Bool { own(ofNode: node) != nil }

    /// Returns the only node that has reported a private address.
    func node(with address: IPAddress) -> Int32? { unique[address] }

    /// Whether the table of unique addresses has room for `addresses` more.
    func hasRoom(for addresses: Int) -> Bool { unique.hasRoom(for: addresses) }

    /// Grows the table of unique addresses until it has room for `addresses` more.
    mutating func makeRoom(for addresses: Int) { unique.makeRoom(for: addresses) }

    /// Replaces the addresses that a node's agent has reported.
    mutating func setOwn(_ addresses: some Collection<IPAddress>, ofNode node: Int32) {
        while own.count <= Int(node) { own.append(nil) }
        var table = AddressTable()
        for address in addresses { table[address] = node }
        own[Int(node)] = table
    }

    /// Removes the addresses that a node's agent has reported.
    mutating func removeOwn(ofNode node: Int32) {
        if own.indices.contains(Int(node)) { own[Int(node)] = nil }
    }

    /// Makes an address known on all nodes as an address of `node`; nil limits it to the nodes that report it.
    mutating func setUnique(_ address: IPAddress, ofNode node: Int32?) { unique[address] = node }
}

/// The addresses that each node's agent has reported; only changes read them.
struct ToldAddresses: Sendable {
    /// Maximum number of addresses kept for a node.
    static let maximumCount = 256

    /// Maximum number of unknown nodes whose reports are kept.
    private static let maximumWaiting = 1_000

    private var own: [Int32: Set<IPAddress>] = [:]
    private var tellers: [IPAddress: Set<Int32>] = [:]
    /// Reports from nodes that no pod or Node object has named yet, by node name.
    private var waiting: [String: [IPAddress]] = [:]
    private let scopes: PrefixTable<AddressScope>

    init(cloud: String) { scopes = .addressScopes(adding: [], in: cloud) }

    /// Whether a node's agent has already reported these addresses.
    func isKnown(_ addresses: [IPAddress], ofNode node: Int32) -> Bool { own[node] == Set(addresses) }

    /// Keeps a node's report until the node is known.
    mutating func keep(_ addresses: [IPAddress], ofNode name: String) {
        if waiting[name] == nil, waiting.count == Self.maximumWaiting { waiting.remove(at: waiting.startIndex) }
        waiting[name] = addresses
    }

    /// Removes and returns the report kept for a node.
    mutating func takeKept(ofNode name: String) -> [IPAddress]? { waiting.removeValue(forKey: name) }

    /// Records a node's report, and updates the table.
    mutating func set(_ addresses: [IPAddress], ofNode node: Int32, _ table: inout HostAddresses) {
        let told = Set(addresses.prefix(Self.maximumCount))
        let before = own.updateValue(told, forKey: node) ?? []
        table.setOwn(told, ofNode: node)
        note(told, before, ofNode: node, &table)
    }

    /// Removes the report of a node that is gone, and keeps it until the node is back.
    mutating func forget(_ node: Int32, named name: String, _ table: inout HostAddresses) {
        guard let before = own.removeValue(forKey: node) else { return }
        table.removeOwn(ofNode: node)
        note([], before, ofNode: node, &table)
        keep(Array(before), ofNode: name)
    }

    private mutating func note(
        _ told: Set<IPAddress>, _ before: Set<IPAddress>, ofNode node: Int32, _ table: inout HostAddresses
    ) {
        for address in before.subtracting(told) {
            tellers[address]?.remove(node)
            if tellers[address]?.isEmpty == true { tellers[address] = nil }
            settle(address, &table)
        }
        for address in told.subtracting(before) where isKnownElsewhere(address) {
            tellers[address, default: []].insert(node)
            settle(address, &table)
        }
    }

    private func settle(_ address: IPAddress, _ table: inout HostAddresses) {
        let tellers = tellers[address] ?? []
        table.setUnique(address, ofNode: tellers.count == 1 ? tellers.first : nil)
    }

    /// Whether an address counts on other nodes. Link-local addresses do not: every node has some, from the same few
    /// blocks.
    private func isKnownElsewhere(_ address: IPAddress) -> Bool {
        guard let scope = scopes.value(for: address), scope == .private || scope == .shared else { return false }
        return !address.isLoopback && !address.isLinkLocal
    }
}

extension IPAddress {
    /// Whether the address is link-local: 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291).
    fileprivate var isLinkLocal: Bool {
        if let v4 { return v4 >> 16 == 0xa9fe }
        return bits >> 118 == 0xfe80 >> 6
    }
}
