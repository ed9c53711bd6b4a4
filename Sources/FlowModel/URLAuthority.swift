// SPDX-License-Identifier: Apache-2.0

/// The host and the port of a URL or of `host:port`.
public struct URLAuthority: Equatable, Sendable {
    /// The name or address, without the brackets of an IPv6 address.
    public let host: String
    /// The port; nil if none is given.
    public let port: Int?

    /// Reads `scheme://host:port/path` or `host:port`; an IPv6 address must be in brackets.
    public init(_ text: String) {
        let start = text.firstRange(of: "://")?.upperBound ?? text.startIndex
        let authority = text[start...].prefix { !"/?#".contains($0) }
        let end = authority.lastIndex(of: "]").map(authority.index(after:)) ?? authority.startIndex
        let colon = authority[end...].lastIndex(of: ":") ?? authority.endIndex
        host = authority[..<colon].filter { $0 != "[" && $0 != "]" }
        port = Int(authority[colon...].dropFirst())
    }

    /// Makes an authority from a host alone; an IPv6 address is given without brackets.
    public init(host: String) {
        self.host = host
        port = nil
    }

    /// Whether traffic to the host stays on this machine.
    public var isLoopback: Bool { host.lowercased() == "localhost" || IPAddress(host)?.isLoopback == true }
}
