// SPDX-License-Identifier: Apache-2.0

import TestSupport
import FlowModel
import FlowWire

extension SeededGenerator {
    /// Returns true in one of `n` cases.
    mutating func oneIn(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self) == 0 }

    /// Returns a number of any magnitude, the extremes included.
    mutating func integer<Number: FixedWidthInteger & UnsignedInteger>(_: Number.Type) -> Number {
        switch Int.random(in: 0..<8, using: &self) {
        case 0: 0
        case 1: .max
        default: .random(in: .min ... .max, using: &self) >> Int.random(in: 0..<Number.bitWidth, using: &self)
        }
    }

    mutating func address(_ family: FlowBatchBuilder.Family) -> IPAddress {
        switch family {
        case .ipv4: IPAddress(v4: integer(UInt32.self))
        // An IPv6 flow can have an IPv4 address, where a NAT translates between the families.
        case .ipv6: oneIn(8) ? address(.ipv4) : IPAddress(bits: integer(UInt128.self))
        }
    }

    /// Returns `count` addresses of both families, IPv4 addresses first as on the wire.
    mutating func hostAddresses(_ count: Int) -> [IPAddress] {
        let addresses = (0..<count).map { _ in address(oneIn(2) ? .ipv4 : .ipv6) }
        return addresses.filter(\.isIPv4) + addresses.filter { !$0.isIPv4 }
    }

    mutating func tuple(_ family: FlowBatchBuilder.Family) -> FlowTuple {
        FlowTuple(
            source: address(family), destination: address(family), sourcePort: integer(UInt16.self),
            destinationPort: integer(UInt16.self))
    }

    mutating func counters() -> FlowCounters {
        FlowCounters(packets: integer(UInt64.self), bytes: integer(UInt64.self))
    }

    /// Returns a flow of a family, translated in one of `translation` cases.
    mutating func flow(_ family: FlowBatchBuilder.Family, translation: Int) -> Flow {
        while true {
            let original = tuple(family)
            let flow = Flow(
                transport: TransportProtocol(rawValue: integer(UInt8.self)), original: original,
                reply: oneIn(translation) ? tuple(family) : original.mirrored, originalCounters: counters(),
                replyCounters: counters(), zone: oneIn(translation) ? integer(UInt16.self) : 0)
            if flow.isIPv4 == (family == .ipv4) { return flow }
        }
    }
}
