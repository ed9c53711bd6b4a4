// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import NIOCore

extension SocketAddress {
    /// The IPv4 address behind an IPv4-mapped one (`::ffff:a.b.c.d`, as a socket for both families has its peers'), and any
    /// other address as it is.
    public var unmapped: SocketAddress {
        guard case .v6 = self, let address = ipAddress.flatMap({ IPAddress($0) }), address.isIPv4 else { return self }
        return (try? SocketAddress(ipAddress: address.description, port: port ?? 0)) ?? self
    }
}
