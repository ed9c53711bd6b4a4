// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import Glibc

/// Sockets that receive the kernel's DESTROY events, in the form in which processes pass them to one another.
///
/// The kernel lets only a process with CAP_NET_ADMIN over the network namespace receive these events (`netlink_bind` in
/// net/netlink/af_netlink.c), so holding such a socket proves the privileges that an agent needs.
public enum EventSocket {
    /// The group's bit in a socket's memberships: groups are numbered from 1.
    private static let groupBit = UInt32(1) << (UInt32(NFNLGRP_CONNTRACK_DESTROY.rawValue) - 1)

    /// Opens an event socket that is never read. Its events fill a small buffer and are dropped; close it soon.
    public static func open() throws(ConntrackError) -> CInt {
        let socket = try NetlinkSocket(groups: CUnsignedInt(NF_NETLINK_CONNTRACK_DESTROY))
        _ = socket.setReceiveBuffer(bytes: 0)
        let descriptor = fcntl(socket.descriptor, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else {
            throw ConntrackError(operation: "duplicating a netfilter netlink socket", errno: errno)
        }
        return descriptor
    }

    /// Returns whether a descriptor is an event socket of the calling thread's network namespace.
    public static func isOne(_ descriptor: CInt) -> Bool {
        guard option(SOL_SOCKET, SO_DOMAIN, of: descriptor) == UInt32(AF_NETLINK),
            option(SOL_SOCKET, SO_PROTOCOL, of: descriptor) == UInt32(NETLINK_NETFILTER),
            let groups = option(SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, of: descriptor), groups & groupBit != 0,
            let own = try? NetlinkSocket(), let expected = namespace(of: own.descriptor)
        else { return false }
        return namespace(of: descriptor).map { $0 == expected } ?? false
    }

    /// Returns the first 32-bit word of a socket option, or nil if the descriptor does not have the option.
    private static func option(_ level: CInt, _ name: CInt, of descriptor: CInt) -> UInt32? {
        var value: UInt32 = 0
        var length = socklen_t(MemoryLayout<UInt32>.size)
        // The kernel copies as many words of memberships as fit, and sets the length to the size of all of them.
        guard getsockopt(descriptor, level, name, &value, &length) == 0, length >= MemoryLayout<UInt32>.size else {
            return nil
        }
        return value
    }

    /// Returns the network namespace in which a socket was opened, identified by the namespace's file.
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
