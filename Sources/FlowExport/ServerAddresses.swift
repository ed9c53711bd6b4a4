// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// The current addresses of a server's name.
enum ServerAddresses {
    /// A name cannot be resolved to an address.
    struct ResolutionError: Error, CustomStringConvertible {
        let host: String
        let reason: String

        var description: String { "cannot resolve the name \(host): \(reason)" }
    }

    /// Resolves a name with the system's resolver (getaddrinfo(3)), which blocks the calling thread.
    ///
    /// - Returns: At least one address, in the resolver's order.
    static func resolve(host: String, port: Int) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &first)
        guard code == 0 else {
            throw ResolutionError(host: host, reason: String(cString: gai_strerror(code)))
        }
        defer { freeaddrinfo(first) }
        var addresses: [SocketAddress] = []
        var next = first
        while let info = next?.pointee {
            if info.ai_family == AF_INET {
                info.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee, host: host))
                }
            } else if info.ai_family == AF_INET6 {
                info.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee, host: host))
                }
            }
            next = info.ai_next
        }
        guard !addresses.isEmpty else { throw ResolutionError(host: host, reason: "it has no address") }
        return addresses
    }
}
