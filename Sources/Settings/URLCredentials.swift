// SPDX-License-Identifier: Apache-2.0

extension String {
    /// The URL, or `host:port`, without the `user:password@` before its host.
    public var withoutCredentials: String {
        let start = firstRange(of: "://")?.upperBound ?? startIndex
        let authority = self[start...].prefix { !"/?#".contains($0) }
        guard let at = authority.lastIndex(of: "@") else { return self }
        return String(self[..<start] + self[index(after: at)...])
    }
}
