// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import NIOCore

extension SocketAddress {
    /// The IPv4 address of an IPv4-mapped one (`::ffff:a.b.c.d`, which a socket for both families reports for IPv4
    /// peers); any other address unchanged.
    public var unmapped: SocketAddress {
        guard case .v6 = self, let address = ipAddress.flatMap({ IPAddress($0) }), address.isIPv4 else { return self }
        return (try? SocketAddress(ipAddress: address.description, port: port ?? 0)) ?? self
    }
}
