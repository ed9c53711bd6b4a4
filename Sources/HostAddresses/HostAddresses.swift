// SPDX-License-Identifier: Apache-2.0

import CRtnetlink
public import FlowModel
import Glibc

/// The addresses of a network namespace, and their changes: that of the threads that make it and call it.
///
/// A node speaks to its pods from tunnels and bridges (`flannel.1`, `cni0`, `tunl0`) whose addresses no Kubernetes object
/// lists; the kernel tells them to every process of the namespace.
public final class HostAddresses: Sendable {
    /// What was read at one moment.
    public struct Reading: Equatable, Sendable {
        /// The addresses in ascending order: link-local ones included, but neither loopback nor unspecified ones nor those
        /// of services.
        public var addresses: [IPAddress]
        /// The number of addresses beyond the limit.
        public var omitted: Int
        /// Messages of the kernel that could not be read.
        public var malformedMessages: Int
    }

    /// The dummy interfaces to which kube-proxy's IPVS mode (`defaultDummyDevice` in pkg/proxy/ipvs/proxier.go) and
    /// kube-router give every service's address.
    private static let serviceInterfaces = ["kube-ipvs0", "kube-dummy-if"]

    /// The kernel makes the datagrams of a dump no larger than this (`netlink_recvmsg` in net/netlink/af_netlink.c).
    private static let bufferBytes = 32 << 10

    /// How often a dump is asked for that the kernel says is interrupted: addresses that change faster are read with the
    /// next change.
    private static let maximumAttempts = 5

    /// Hears of changes. What it hears is not looked at: the addresses are read again.
    private let changes: RouteSocket
    /// Readable once ``interrupt()`` was called.
    private let interruption: (reader: CInt, writer: CInt)

    /// Begins to hear of changes.
    public init() throws(RouteSocketError) {
        changes = try RouteSocket(groups: UInt32(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw RouteSocketError("making a pair of sockets", errno: errno)
        }
        interruption = (ends[0], ends[1])
    }

    deinit {
        close(interruption.reader)
        close(interruption.writer)
    }

    /// Reads all addresses.
    ///
    /// - Parameter limit: The most that are given; of more, the first in ascending order.
    public func read(limit: Int) throws(RouteSocketError) -> Reading {
        var dump = try self.dump()
        for _ in 1..<Self.maximumAttempts where dump.isInterrupted { dump = try self.dump() }
        let addresses = dump.addresses.sorted()
        return Reading(
            addresses: Array(addresses.prefix(limit)), omitted: max(0, addresses.count - limit),
            malformedMessages: dump.malformedMessages)
    }

    private func dump() throws(RouteSocketError) -> AddressDump {
        // Their addresses come after the interface: a reading that a change is followed by knows it.
        var dump = AddressDump(without: Set(Self.serviceInterfaces.map { if_nametoindex($0) }))
        // A socket of its own: nothing of an answer that was not read to its end is left on it.
        let socket = try RouteSocket()
        try socket.requestAddresses()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferBytes, alignment: 8)
        defer { buffer.deallocate() }
        while !dump.isComplete { try dump.append(try socket.receive(into: buffer)) }
        return dump
    }

    /// Waits until addresses have changed since the last call, or since the beginning.
    ///
    /// - Returns: False where ``interrupt()`` was called.
    public func waitForChange() -> Bool {
        let isInterrupted = wait(for: [changes.descriptor], milliseconds: -1)
        changes.discardReceived()
        return !isInterrupted
    }

    /// Waits for a time.
    ///
    /// - Returns: False where ``interrupt()`` was called.
    public func pause(milliseconds: CInt) -> Bool { !wait(for: [], milliseconds: milliseconds) }

    /// Ends every wait, now and later. Callable from any thread.
    public func interrupt() {
        // A socket that is full is readable, too.
        send(interruption.writer, [1], 1, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
    }

    /// Waits until one of the descriptors has something, at most for some milliseconds, or for ever where they are negative.
    ///
    /// - Returns: Whether ``interrupt()`` was called.
    private func wait(for descriptors: [CInt], milliseconds: CInt) -> Bool {
        var polled = ([interruption.reader] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var result: CInt
        repeat { result = poll(&polled, nfds_t(polled.count), milliseconds) } while result < 0 && errno == EINTR
        return polled[0].revents != 0
    }
}
