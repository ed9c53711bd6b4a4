// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore

/// The choice of the address at which an attempt to connect begins.
///
/// A server that an agent has left without acknowledgements may still store what it received, and only that server
/// recognises a batch that is sent again. The agent therefore returns to it before it tries another server, which would
/// store the same batches a second time.
struct ServerChoice {
    /// The order in which an attempt tries a server's addresses.
    struct Order: Equatable, Sendable {
        /// The address of the server that may hold batches, which is tried first; nil for none.
        let holder: SocketAddress?
        /// The index of the address that is tried next, modulo their number.
        let start: Int

        /// Puts addresses, at least one, into this order.
        func callAsFunction(_ addresses: [SocketAddress]) -> [SocketAddress] {
            let start = start % addresses.count
            let all = addresses[start...] + addresses[..<start]
            guard let holder else { return Array(all) }
            return [holder] + all.filter { $0 != holder }
        }
    }

    /// The most returns in a row without an acknowledgement: a server may refuse what another one accepts.
    static let maximumReturns = 20
    /// The most connections in a row on which the holder has not admitted the agent.
    static let maximumRejections = 2

    /// Random at first, so that agents start at different addresses.
    private var next: Int
    /// The address of the server that owes acknowledgements.
    private var holder: SocketAddress?
    /// The address of the server at the other end of the open connection.
    private var current: SocketAddress?
    /// Whether that server has admitted the agent.
    private var isAdmitted = false
    /// The number of returns since the last acknowledgement.
    private var returns = 0
    /// The number of connections on which the holder has not admitted the agent.
    private var rejections = 0

    init(start: Int = .random(in: 0..<1024)) { next = start }

    /// Returns the order of the next attempt. An attempt that fails at the holder tries the other addresses too.
    mutating func nextOrder() -> Order {
        if holder == nil { next += 1 }
        return Order(holder: holder, start: next)
    }

    /// Handles an opened connection to an address.
    mutating func opened(to address: SocketAddress?) { (current, isAdmitted) = (address, false) }

    /// Handles the `Welcome`, which has the server's own address, even behind that of a Kubernetes Service.
    ///
    /// - Parameter isReachable: Whether a connection to that address would be accepted as one to this server.
    mutating func welcomed(by welcome: Welcome, isReachable: Bool = true) {
        isAdmitted = true
        guard isReachable, let address = SocketAddress(returningTo: welcome, from: current) else { return }
        current = address
    }

    /// Handles the acknowledgement of a batch.
    mutating func acknowledged() { (isAdmitted, returns) = (true, 0) }

    /// Handles the end of the open connection.
    ///
    /// - Parameters:
    ///   - isOwed: Whether batches on it were not acknowledged.
    ///   - isSilent: Whether the agent has left because the server said nothing, so that a return would be in vain.
    mutating func closed(isOwed: Bool, isSilent: Bool) {
        defer { (current, isAdmitted) = (nil, false) }
        guard isAdmitted else {
            // The batches are where they were before.
            guard current == holder else { return }
            rejections += 1
            if isSilent || rejections >= Self.maximumRejections { holder = nil }
            return
        }
        rejections = 0
        guard isOwed, !isSilent, returns < Self.maximumReturns else { return holder = nil }
        returns += 1
        holder = current
    }
}

extension SocketAddress {
    /// The address in a `Welcome`; nil if an agent connected to `peer` cannot return to it: a loopback address is another
    /// host's, and a link-local one lacks the interface.
    fileprivate init?(returningTo welcome: Welcome, from peer: SocketAddress?) {
        let address = welcome.address
        let packed = address.v4.map { ByteBuffer(integer: $0) } ?? ByteBuffer(integer: address.bits)
        let isPeerLoopback = peer?.ipAddress.flatMap { IPAddress($0) }?.isLoopback ?? false
        guard welcome.port > 0, !address.isLoopback || isPeerLoopback, address.isUnicast,
            let made = try? SocketAddress(packedIPAddress: packed, port: Int(welcome.port))
        else { return nil }
        self = made
    }
}

extension IPAddress {
    /// Whether a host can have this address on a network beyond its own link: it is neither unspecified, multicast nor
    /// link-local (RFC 4291, sections 2.5.2, 2.5.6 and 2.7; RFC 1112; RFC 3927).
    fileprivate var isUnicast: Bool {
        if let v4 { return v4 != 0 && v4 >> 28 != 0xe && v4 >> 16 != 0xa9fe }
        return bits != 0 && bits >> 120 != 0xff && bits >> 118 != 0x3fa
    }
}
