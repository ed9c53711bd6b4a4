// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import DocumentTree
public import FlowModel

/// Reads the records of an inventory, with the state for checks across records.
struct InventoryReader {
    private var nodes: Set<String> = []
    private var podsByAddress: [IPAddress: String] = [:]
    private var rangesByPrefix: [IPPrefix: String] = [:]

    mutating func inventory(_ root: inout DocumentMapping) -> Inventory {
        // Nodes are read first, wherever they are in the file, because pods refer to them.
        let nodes = root.list("nodes", required: false) { node(&$0) }
        let pods = root.list("pods", required: false) { pod(&$0) }
        let ranges = root.list("ranges", required: false) { range(&$0) }.flatMap(\.self)
        return Inventory(nodes: nodes, pods: pods, ranges: ranges)
    }

    private mutating func node(_ mapping: inout DocumentMapping) -> Node {
        let name = mapping.value("name") { name throws(BadValue) in
            guard nodes.insert(name).inserted else { throw BadValue("is the name of an earlier node") }
            return name
        }
        return Node(
            name: name ?? "",
            addresses: mapping.values("addresses") { text throws(BadValue) in try IPAddress(inventory: text) },
            zone: mapping.string("zone", default: ""))
    }

    private mutating func pod(_ mapping: inout DocumentMapping) -> Pod {
        let namespace = mapping.string("namespace")
        let name = mapping.string("name")
        let node = mapping.value("node") { node throws(BadValue) in
            guard nodes.contains(node) else { throw BadValue("is not among the nodes") }
            return node
        }
        let hostNetwork = mapping.bool("host_network", default: false)
        let addresses = mapping.values("addresses") { text throws(BadValue) in
            let address = try IPAddress(inventory: text)
            if !hostNetwork, let other = podsByAddress.updateValue("\(namespace)/\(name)", forKey: address) {
                throw BadValue("is an address of pod \(other) and of pod \(namespace)/\(name)")
            }
            return address
        }
        var columnLabels: [Label: String] = [:]
        for (label, key, _) in Label.ofPodLabels {
            let text = mapping.string(key, default: "")
            if !text.isEmpty { columnLabels[label] = text }
        }
        return Pod(
            namespace: namespace, name: name, node: node ?? "", addresses: addresses, hostNetwork: hostNetwork,
            columnLabels: columnLabels)
    }

    /// Reads one range: its blocks, each with the range's place.
    mutating func range(_ mapping: inout DocumentMapping) -> [CloudRange] {
        let name = mapping.string("name")
        let prefixes = mapping.values("cidrs") { text throws(BadValue) in
            let prefix = try IPPrefix(inventory: text)
            if let other = rangesByPrefix.updateValue(name, forKey: prefix) {
                throw BadValue("is a block of range \(other) and of range \(name)")
            }
            return prefix
        }
        let lowercased: (String) -> String? = { text in
            let name = text.lowercased().filter { !$0.isWhitespace }
            return name.isEmpty ? nil : name
        }
        let place = CloudPlace(
            cloud: mapping.value("cloud", as: "the name of a cloud", lowercased) ?? "",
            region: mapping.value("region", required: false, as: "the name of a region", lowercased) ?? "",
            availabilityZone: mapping.string("availability_zone", default: ""),
            service: mapping.value("service", required: false, as: "the name of a service", lowercased) ?? "")
        return prefixes.map { CloudRange(prefix: $0, place: place) }
    }
}

extension DocumentMapping {
    /// Reads the ranges in the list of `key`, no two with the same block; empty if the key is absent.
    public mutating func cloudRanges(_ key: String) -> [CloudRange] {
        var reader = InventoryReader()
        return list(key, required: false) { reader.range(&$0) }.flatMap(\.self)
    }

    /// Reads the blocks of addresses in the list of `key`; empty if the key is absent.
    public mutating func prefixes(_ key: String) -> [IPPrefix] {
        values(key, required: false) { text throws(BadValue) in try IPPrefix(inventory: text) }
    }
}

extension IPAddress {
    fileprivate init(inventory text: String) throws(BadValue) {
        guard let address = IPAddress(text) else { throw BadValue("is not an IPv4 or IPv6 address") }
        self = address
    }
}

extension IPPrefix {
    fileprivate init(inventory text: String) throws(BadValue) {
        if let prefix = IPPrefix(text) {
            self = prefix
        } else if let meant = IPPrefix(droppingHostBitsOf: text) {
            throw BadValue("has host bits set; the network is \(meant)")
        } else {
            throw BadValue("is not a block of addresses such as 10.0.0.0/8 or fd00::/8")
        }
    }

    private init?(droppingHostBitsOf text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(parts[0]), let length = Int(parts[1]) else { return nil }
        self.init(containing: address, length: length)
    }
}
