// SPDX-License-Identifier: Apache-2.0

import CRtnetlink
public import FlowModel
import Glibc
import Threads

/// The addresses of a network namespace and their changes. The namespace is that of the threads that create this object
/// and call it.
///
/// A node communicates with its pods from tunnels and bridges (`flannel.1`, `cni0`, `tunl0`) whose addresses no
/// Kubernetes object lists; the kernel lists them for every process of the namespace.
public final class HostAddresses: Sendable {
    /// The addresses at one moment.
    public struct Reading: Equatable, Sendable {
        /// The addresses in ascending order: IPv4 link-local ones are included; loopback, unspecified, IPv6 link-local
        /// and service addresses are not.
        public var addresses: [IPAddress]
        /// The number of addresses beyond the limit.
        public var omitted: Int
        /// Messages from the kernel that could not be decoded.
        public var malformedMessages: Int
    }

    /// The dummy interfaces to which kube-proxy's IPVS mode (`defaultDummyDevice` in pkg/proxy/ipvs/proxier.go) and
    /// kube-router assign every service's address.
    private static let serviceInterfaces = ["kube-ipvs0", "kube-dummy-if"]

    /// The receive buffer's size in bytes: the kernel creates no larger datagrams for a dump (`netlink_recvmsg` in
    /// net/netlink/af_netlink.c).
    private static let bufferBytes = 32 << 10

    /// The maximum number of attempts while the kernel reports the dump as interrupted. Addresses that change faster
    /// are read after the next change.
    private static let maximumAttempts = 5

    /// Receives notifications of changes. Their content is ignored: all addresses are read again.
    private let changes: RouteSocket
    private let interruption: PollInterruption

    /// Starts listening for changes.
    public init() throws(RouteSocketError) {
        changes = try RouteSocket(groups: UInt32(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        guard let interruption = PollInterruption() else {
            throw RouteSocketError("creating a socket pair", errno: errno)
        }
        self.interruption = interruption
    }

    /// Reads all addresses.
    ///
    /// - Parameter limit: The maximum number of addresses to return, the first in ascending order.
    public func read(limit: Int) throws(RouteSocketError) -> Reading {
        var dump = try self.dump()
        for _ in 1..<Self.maximumAttempts where dump.isInterrupted { dump = try self.dump() }
        let addresses = dump.addresses.sorted()
        return Reading(
            addresses: Array(addresses.prefix(limit)), omitted: max(0, addresses.count - limit),
            malformedMessages: dump.malformedMessages)
    }

    private func dump() throws(RouteSocketError) -> AddressDump {
        // An interface exists before its addresses, so a reading that follows an address change finds its index.
        var dump = AddressDump(without: Set(Self.serviceInterfaces.map { if_nametoindex($0) }))
        // A new socket for each dump, which cannot hold the unread rest of an earlier response.
        let socket = try RouteSocket()
        try socket.requestAddresses()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferBytes, alignment: 8)
        defer { buffer.deallocate() }
        while !dump.isComplete { try dump.append(try socket.receive(into: buffer)) }
        return dump
    }

    /// Waits until addresses have changed since the last call, or since this object was created.
    ///
    /// - Returns: False if ``interrupt()`` was called.
    public func waitForChange() -> Bool {
        let isInterrupted = interruption.wait(for: [changes.descriptor], milliseconds: -1)
        changes.discardReceived()
        return !isInterrupted
    }

    /// Waits for this many milliseconds.
    ///
    /// - Returns: False if ``interrupt()`` was called.
    public func pause(milliseconds: CInt) -> Bool {
        !interruption.wait(for: [], milliseconds: milliseconds)
    }

    /// Ends all current and future waits. Callable from any thread.
    public func interrupt() { interruption.interrupt() }
}
