// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc

/// Reads the addresses of one object. An unreadable address, such as `fe80::1%eth0`, is skipped and counted; so is an
/// address beyond a limit.
struct AddressReader {
    private(set) var unreadable = 0

    /// Adds the address in a field of the API; an empty field adds none.
    mutating func read(_ text: UnsafePointer<CChar>?, into addresses: inout [IPAddress], limit: Int = .max) {
        guard let text, text.pointee != 0 else { return }
        if addresses.count < limit, let address = String(validatingCString: text).flatMap(IPAddress.init) {
            addresses.append(address)
        } else {
            unreadable += 1
        }
    }

    /// Adds the block of addresses in a field of the API; an empty field adds none.
    mutating func read(_ text: UnsafePointer<CChar>?, into networks: inout [IPPrefix]) {
        guard let text else { return }
        read(UnsafeRawBufferPointer(start: text, count: strlen(text)), into: &networks)
    }

    /// Adds an interface's address in the form of annotations: `10.244.1.1` or `10.244.1.1/24`. An address that is
    /// present already, or that no interface can have, is skipped.
    mutating func read(_ text: UnsafeRawBufferPointer, into addresses: inout [IPAddress], limit: Int) {
        guard !text.isEmpty else { return }
        guard let address = InterfaceAddress(text)?.address else {
            unreadable += 1
            return
        }
        guard address.isOfInterface, !addresses.contains(address) else { return }
        guard addresses.count < limit else {
            unreadable += 1
            return
        }
        addresses.append(address)
    }

    /// Adds a block of the addresses of a node's pods: `10.244.1.0/24`. A block that is present already, or too large
    /// for one node, is skipped.
    mutating func read(_ text: UnsafeRawBufferPointer, into networks: inout [IPPrefix]) {
        guard !text.isEmpty else { return }
        guard let interface = InterfaceAddress(text), let length = interface.length,
            let network = IPPrefix(containing: interface.address, length: length)
        else {
            unreadable += 1
            return
        }
        guard length >= (network.network.isIPv4 ? 8 : 32), !networks.contains(network) else { return }
        guard networks.count < KubernetesLimits.podNetworks else {
            unreadable += 1
            return
        }
        networks.append(network)
    }

    /// Counts a text without addresses where some were expected.
    mutating func noteUnreadable() { unreadable += 1 }
}

/// The address of an interface, with or without a prefix length.
private struct InterfaceAddress {
    let address: IPAddress
    let length: Int?

    init?(_ bytes: UnsafeRawBufferPointer) {
        let slash = bytes.firstIndex(of: UInt8(ascii: "/"))
        let text = UnsafeRawBufferPointer(rebasing: bytes[..<(slash ?? bytes.endIndex)])
        guard text.count < Int(INET6_ADDRSTRLEN),
            let address = String(validating: text, as: UTF8.self).flatMap(IPAddress.init)
        else { return nil }
        self.address = address
        guard let slash else {
            length = nil
            return
        }
        let digits = UnsafeRawBufferPointer(rebasing: bytes[(slash + 1)...])
        guard digits.count <= 3, let length = Int(String(decoding: digits, as: UTF8.self)),
            (0...(address.isIPv4 ? 32 : 128)).contains(length)
        else { return nil }
        self.length = length
    }
}

extension IPAddress {
    /// Whether a reachable interface may have the address: it is not unspecified, loopback, multicast or broadcast.
    var isOfInterface: Bool {
        guard !isLoopback else { return false }
        if let v4 { return v4 != 0 && v4 != .max && v4 >> 28 != 0xe }
        return bits != 0 && bits >> 120 != 0xff
    }
}
