// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import NIOCore

extension SocketAddress {
    /// The source that limits count a peer under: its IPv4 address, or the /64 of its IPv6 address, since one host has all
    /// 2^64 addresses of its /64 to connect from.
    public var source: String {
        guard let address = ipAddress.flatMap({ IPAddress($0) }) else { return "unknown" }
        return address.isIPv4 ? "\(address)" : "\(IPAddress(bits: (address.bits >> 64) << 64))/64"
    }
}
