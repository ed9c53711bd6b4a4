// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc

/// The host name in a request's `Host` header, under which a browser asked for a page.
///
/// A foreign web page can make its own name resolve to 127.0.0.1 and then read, as its own, what a port-forward
/// responds there (DNS rebinding). That fails for names that an outsider cannot register.
enum RequestHost {
    /// Endings of names that no public registry assigns: those of services and pods (RFC 6762 reserves `local`), of
    /// nodes in AWS and Google Cloud (ICANN reserves `internal`), and of the host itself (RFC 6761).
    private static let privateSuffixes = [".svc", ".local", ".internal", ".localhost"]

    /// The host's own name; for an agent, the node's.
    private static let ownName: String? = {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).lowercased()
    }()

    /// Returns true for addresses, names without a dot, names with a private ending and the host's own name.
    ///
    /// - Parameter host: The header's value, `NAME`, `NAME:PORT` or `[ADDRESS]:PORT`.
    static func isTrusted(_ host: String) -> Bool {
        guard let name = name(in: host) else { return false }
        return IPAddress(name) != nil || !name.contains(".") || name == ownName
            || privateSuffixes.contains { name.hasSuffix($0) }
    }

    private static func name(in host: String) -> String? {
        var name = host.lowercased()[...]
        if name.first == "[" {
            guard let end = name.firstIndex(of: "]") else { return nil }
            return String(name[name.index(after: name.startIndex)..<end])
        }
        if let colon = name.lastIndex(of: ":") { name = name[..<colon] }
        if name.last == "." { name.removeLast() }
        let isName = name.utf8.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
        }
        return isName && !name.isEmpty ? String(name) : nil
    }
}
