// SPDX-License-Identifier: Apache-2.0

import CNetfilter

/// Room for many small datagrams, each in a slot of its own, so that one system call receives all of them.
struct DatagramSlots: ~Copyable {
    /// What a slot holds after a receive.
    enum Content {
        /// A datagram of the kernel's.
        case datagram(UnsafeRawBufferPointer)
        /// A datagram of the kernel's that is larger than a slot.
        case tooLarge
        /// A datagram of another process, which may multicast where it has CAP_NET_ADMIN.
        case foreign
    }

    /// The most datagrams of one call.
    static let count = 128

    /// Bytes of a slot. A message about one entry has about 300 bytes; labels, helpers, time stamps and a security
    /// context can add several hundred.
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

    /// The number of datagrams received, or -1 and `errno`.
    mutating func receive(from socket: CInt, wait: Bool) -> Int {
        Int(
            kubenetmon_receive_many(
                socket, bytes.baseAddress, Self.slotSize, CUnsignedInt(Self.count), lengths.baseAddress,
                senders.baseAddress, wait ? 1 : 0))
    }

    /// A slot's content after the last call.
    subscript(index: Int) -> Content {
        guard senders[index] == 0 else { return .foreign }
        let length = Int(lengths[index])
        guard length <= Self.slotSize else { return .tooLarge }
        let start = index * Self.slotSize
        return .datagram(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
    }
}
