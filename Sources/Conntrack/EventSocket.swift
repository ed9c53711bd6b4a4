// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc

/// Sockets that hear the kernel's events of ended connections, as they travel between processes.
///
/// The kernel lets a process hear them that has CAP_NET_ADMIN over the network namespace (`netlink_bind` in
/// net/netlink/af_netlink.c), so that holding one proves the right to do what an agent does.
public enum EventSocket {
    /// The bit of the group among a socket's memberships: groups are numbered from 1.
    private static let groupBit = UInt32(1) << (UInt32(NFNLGRP_CONNTRACK_DESTROY.rawValue) - 1)

    /// Opens one that nothing is read from. What it hears fills a small buffer and is dropped; close it soon.
    public static func open() throws(ConntrackError) -> CInt {
        let socket = try NetlinkSocket(groups: CUnsignedInt(NF_NETLINK_CONNTRACK_DESTROY))
        _ = socket.setReceiveBuffer(bytes: 0)
        let descriptor = fcntl(socket.descriptor, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else {
            throw ConntrackError(operation: "duplicating a netfilter netlink socket", errno: errno)
        }
        return descriptor
    }

    /// Tells whether a descriptor is such a socket of the calling thread's network namespace.
    public static func isOne(_ descriptor: CInt) -> Bool {
        guard option(SOL_SOCKET, SO_DOMAIN, of: descriptor) == UInt32(AF_NETLINK),
            option(SOL_SOCKET, SO_PROTOCOL, of: descriptor) == UInt32(NETLINK_NETFILTER),
            let groups = option(SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, of: descriptor), groups & groupBit != 0,
            let own = try? NetlinkSocket(), let expected = namespace(of: own.descriptor)
        else { return false }
        return namespace(of: descriptor).map { $0 == expected } ?? false
    }

    /// The first word of a socket's option; nil where the descriptor has none such.
    private static func option(_ level: CInt, _ name: CInt, of descriptor: CInt) -> UInt32? {
        var value: UInt32 = 0
        var length = socklen_t(MemoryLayout<UInt32>.size)
        // The kernel gives as many words of memberships as fit, and tells how many there are.
        guard getsockopt(descriptor, level, name, &value, &length) == 0, length >= MemoryLayout<UInt32>.size else {
            return nil
        }
        return value
    }

    /// The network namespace that a socket was opened in, as the file that stands for it.
    private static func namespace(of socket: CInt) -> Namespace? {
        let file = ioctl(socket, UInt(KUBENETMON_SIOCGSKNS), 0)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        return fstat(file, &status) == 0 ? Namespace(device: status.st_dev, inode: status.st_ino) : nil
    }

    private struct Namespace: Equatable {
        let device: dev_t
        let inode: ino_t
    }
}
