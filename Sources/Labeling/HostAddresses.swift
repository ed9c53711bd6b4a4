// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The addresses of nodes' bridges, tunnels and further interfaces, as their agents tell them.
///
/// Every node has its own. One that is private and that no other node tells is known on all nodes; a bridge such as Docker's
/// has the same address everywhere, and is each node's own on that node and unknown on others. A public one counts on its
/// own node alone, too.
struct HostAddresses: Sendable {
    /// By the node's number; nil where its agent tells nothing.
    private var own: [AddressTable?] = []
    /// The number of the only node that tells an address.
    private var unique = AddressTable()

    /// Whether a node's agent has told that an address is its host's.
    func isOwn(_ address: IPAddress, ofNode node: Int32) -> Bool { own(ofNode: node)?[address] != nil }

    /// What a node's agent has told, for many look-ups; nil where it tells nothing.
    func own(ofNode node: Int32) -> AddressTable? { own.indices.contains(Int(node)) ? own[Int(node)] : nil }

    /// Whether a node's agent tells its host's addresses.
    func areTold(ofNode node: Int32) -> Bool { own.indices.contains(Int(node)) && own[Int(node)] != nil }

    /// The only node that has told an address, which is a private one.
    func node(with address: IPAddress) -> Int32? { unique[address] }

    /// Whether the table of unique addresses takes so many more before it grows.
    func hasRoom(for addresses: Int) -> Bool { unique.hasRoom(for: addresses) }

    /// Grows until so many more addresses can be known everywhere.
    mutating func makeRoom(for addresses: Int) { unique.makeRoom(for: addresses) }

    /// Replaces what a node's agent has told.
    mutating func setOwn(_ addresses: some Collection<IPAddress>, ofNode node: Int32) {
        while own.count <= Int(node) { own.append(nil) }
        var table = AddressTable()
        for address in addresses { table[address] = node }
        own[Int(node)] = table
    }

    /// Forgets what a node's agent has told.
    mutating func removeOwn(ofNode node: Int32) {
        if own.indices.contains(Int(node)) { own[Int(node)] = nil }
    }

    /// Makes an address known on all nodes as that of one, or on none but those that have it.
    mutating func setUnique(_ address: IPAddress, ofNode node: Int32?) { unique[address] = node }
}

/// Who has told which addresses, which only changes ask for.
struct ToldAddresses: Sendable {
    /// The most addresses of a node that are kept.
    static let maximumCount = 256

    /// The most nodes that are kept until somebody else has heard of them.
    private static let maximumWaiting = 1_000

    private var own: [Int32: Set<IPAddress>] = [:]
    private var tellers: [IPAddress: Set<Int32>] = [:]
    /// What agents of nodes have told that nobody else has told of yet.
    private var waiting: [String: [IPAddress]] = [:]
    private let scopes: PrefixTable<AddressScope>

    init(cloud: String) { scopes = .addressScopes(adding: [], in: cloud) }

    /// Whether a node's agent has told these before.
    func isKnown(_ addresses: [IPAddress], ofNode node: Int32) -> Bool { own[node] == Set(addresses) }

    /// Keeps what a node's agent has told until the node is known.
    mutating func keep(_ addresses: [IPAddress], ofNode name: String) {
        if waiting[name] == nil, waiting.count == Self.maximumWaiting { waiting.remove(at: waiting.startIndex) }
        waiting[name] = addresses
    }

    /// Takes what was kept for a node.
    mutating func takeKept(ofNode name: String) -> [IPAddress]? { waiting.removeValue(forKey: name) }

    /// Notes what a node's agent tells, and changes the table.
    mutating func set(_ addresses: [IPAddress], ofNode node: Int32, _ table: inout HostAddresses) {
        let told = Set(addresses.prefix(Self.maximumCount))
        let before = own.updateValue(told, forKey: node) ?? []
        table.setOwn(told, ofNode: node)
        note(told, before, ofNode: node, &table)
    }

    /// Keeps what the agent of a node has told that is gone, until it is back.
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

    /// Every node has link-local addresses of the same few blocks.
    private func isKnownElsewhere(_ address: IPAddress) -> Bool {
        guard let scope = scopes.value(for: address), scope == .private || scope == .shared else { return false }
        return !address.isLoopback && !address.isLinkLocal
    }
}

extension IPAddress {
    /// Whether it is good on one link alone: 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291).
    fileprivate var isLinkLocal: Bool {
        if let v4 { return v4 >> 16 == 0xa9fe }
        return bits >> 118 == 0xfe80 >> 6
    }
}
