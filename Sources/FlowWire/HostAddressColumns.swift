// SPDX-License-Identifier: Apache-2.0

import CFlowProto
import FlowModel

/// A host's addresses as the columns of a `HostAddresses` message.
struct HostAddressColumns {
    private static let ipv6Length = MemoryLayout<UInt128>.size

    private var ipv4: [UInt32]
    private var ipv6: [UInt8]

    /// Sorts addresses, at most ``Hello/maximumHostAddresses``, into columns.
    init(_ addresses: [IPAddress]) {
        precondition(addresses.count <= Hello.maximumHostAddresses, "\(addresses.count) host addresses are too many")
        ipv4 = addresses.compactMap(\.v4)
        ipv6 = addresses.filter { !$0.isIPv4 }.flatMap { withUnsafeBytes(of: $0.bits.bigEndian, Array.init) }
    }

    /// Calls `body` with the message, which is valid only during the call.
    mutating func withMessage<Result>(_ body: (UnsafeMutablePointer<Kubenetmon__V1__HostAddresses>) -> Result) -> Result
    {
        ipv4.withUnsafeMutableBufferPointer { ipv4 in
            ipv6.withUnsafeMutableBufferPointer { ipv6 in
                var message = Kubenetmon__V1__HostAddresses()
                kubenetmon__v1__host_addresses__init(&message)
                (message.n_ipv4, message.ipv4) = (ipv4.count, ipv4.baseAddress)
                message.ipv6 = ProtobufCBinaryData(len: ipv6.count, data: ipv6.baseAddress)
                return body(&message)
            }
        }
    }

    /// Returns a message's addresses.
    static func addresses(of message: Kubenetmon__V1__HostAddresses) throws(WireError) -> [IPAddress] {
        let ipv6 = UnsafeRawBufferPointer(start: message.ipv6.data, count: message.ipv6.len)
        guard ipv6.count.isMultiple(of: ipv6Length) else { throw .badHostAddresses(ipv6.count) }
        let count = message.n_ipv4 + ipv6.count / ipv6Length
        guard count <= Hello.maximumHostAddresses else { throw .tooManyHostAddresses(count) }
        return UnsafeBufferPointer(start: message.ipv4, count: message.n_ipv4).map { IPAddress(v4: $0) }
            + stride(from: 0, to: ipv6.count, by: ipv6Length).map { offset in
                let wire = ipv6.loadUnaligned(fromByteOffset: offset, as: UInt128.self)
                return IPAddress(bits: UInt128(bigEndian: wire))
            }
    }
}
