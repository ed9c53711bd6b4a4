// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import NIOCore

extension SocketAddress {
    /// The key of per-source limits: the IPv4 address, or the /64 of an IPv6 address, because one host can connect from
    /// all 2^64 addresses of its /64.
    public var source: String {
        guard let address = ipAddress.flatMap({ IPAddress($0) }) else { return "unknown" }
        return address.isIPv4 ? "\(address)" : "\(IPAddress(bits: (address.bits >> 64) << 64))/64"
    }
}
