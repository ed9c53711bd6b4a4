// SPDX-License-Identifier: Apache-2.0

import CNetfilter

/// A buffer for many small datagrams, each in its own slot, so that one system call receives all of them.
struct DatagramSlots: ~Copyable {
    /// The content of a slot after a receive.
    enum Content {
        /// A datagram from the kernel.
        case datagram(UnsafeRawBufferPointer)
        /// A datagram from the kernel that is larger than a slot.
        case tooLarge
        /// A datagram from another process; with CAP_NET_ADMIN, any process may multicast.
        case foreign
    }

    /// The maximum number of datagrams per call.
    static let count = 128

    /// A slot's size in bytes. A message about one entry has about 300 bytes; labels, helpers, time stamps and a
    /// security context can add several hundred.
    static let slotSize = 2048

    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count * slotSize, alignment: 16)
    private let lengths = UnsafeMutableBufferPointer<CUnsignedInt>.allocate(capacity: count)
    private let senders = UnsafeMutableBufferPointer<CUnsignedInt>.allocate(capacity: count)

    init() {}

    deinit {
        bytes.deallocate()
        lengths.deallocate()
        senders.deallocate()
    }

    /// Receives datagrams and returns their number, or -1 with `errno` set.
    mutating func receive(from socket: CInt, wait: Bool) -> Int {
        Int(
            kubenetmon_receive_many(
                socket, bytes.baseAddress, Self.slotSize, CUnsignedInt(Self.count), lengths.baseAddress,
                senders.baseAddress, wait ? 1 : 0))
    }

    /// The content of a slot after the last receive.
    subscript(index: Int) -> Content {
        guard senders[index] == 0 else { return .foreign }
        let length = Int(lengths[index])
        guard length <= Self.slotSize else { return .tooLarge }
        let start = index * Self.slotSize
        return .datagram(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
    }
}
