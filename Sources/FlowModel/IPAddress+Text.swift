// SPDX-License-Identifier: Apache-2.0

import Glibc

extension IPAddress: CustomStringConvertible {
    /// Reads `192.0.2.1` or `2001:db8::1` as `inet_pton(3)` does; nil for anything else, zone ids included.
    public init?(_ text: some StringProtocol) {
        let text = String(text)
        // A C string ends at a NUL, so the rest of the text would be ignored.
        guard !text.utf8.contains(0) else { return nil }
        var v4 = in_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(v4: UInt32(bigEndian: v4.s_addr))
            return
        }
        var v6 = UInt128(0)
        guard inet_pton(AF_INET6, text, &v6) == 1 else { return nil }
        self.init(bits: UInt128(bigEndian: v6))
    }

    /// The address in its usual text form (RFC 5952 for IPv6).
    public var description: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            if let v4 {
                var wire = v4.bigEndian
                inet_ntop(AF_INET, &wire, text.baseAddress, socklen_t(text.count))
            } else {
                var wire = bits.bigEndian
                inet_ntop(AF_INET6, &wire, text.baseAddress, socklen_t(text.count))
            }
            return text.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    /// Returns the address with a port: `192.0.2.1:443` or `[2001:db8::1]:443`.
    public func text(port: UInt16) -> String { isIPv4 ? "\(self):\(port)" : "[\(self)]:\(port)" }
}
