// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore

/// The choice of the address at which an attempt to connect begins.
///
/// A server that an agent has left without acknowledgements may still store what it received, and recognises only there
/// what is sent again. The agent therefore returns to it before it tries another server, which would store the same
/// batches a second time.
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

    /// Random at first, so that agents start at different addresses.
    private var next: Int
    private var holder: SocketAddress?
    /// The address of the server at the other end of the open connection.
    private var current: SocketAddress?
    /// The number of returns since the last acknowledgement.
    private var returns = 0

    init(start: Int = .random(in: 0..<1024)) { next = start }

    /// Returns the order of the next attempt.
    mutating func nextOrder() -> Order {
        defer { holder = nil }
        if holder != nil { returns += 1 } else { next += 1 }
        return Order(holder: holder, start: next)
    }

    /// Handles an opened connection to an address.
    mutating func opened(to address: SocketAddress?) { current = address }

    /// Handles the server's answer: it names the server's own address, behind that of a Kubernetes Service.
    mutating func welcomed(by welcome: Welcome) {
        let packed = welcome.address.v4.map { ByteBuffer(integer: $0) } ?? ByteBuffer(integer: welcome.address.bits)
        if let address = try? SocketAddress(packedIPAddress: packed, port: Int(welcome.port)) { current = address }
    }

    /// Handles the acknowledgement of a batch.
    mutating func acknowledged() { returns = 0 }

    /// Handles the end of the open connection.
    ///
    /// - Parameters:
    ///   - isOwed: Whether batches on it were not acknowledged.
    ///   - isSilent: Whether the agent has left because the server said nothing, so that a return would be in vain.
    mutating func closed(isOwed: Bool, isSilent: Bool) {
        holder = isOwed && !isSilent && returns < Self.maximumReturns ? current : nil
        current = nil
    }
}
