// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// ClickHouse's HTTP interface as given in `clickhouse_endpoint`: a URL, or kubenetmon's `host:port`, where a port of
/// the native protocol is replaced by the corresponding HTTP port.
struct ClickHouseEndpoint: Equatable, Sendable {
    /// The text of the setting.
    let text: String
    /// The URL that requests go to.
    let url: String

    /// The ports with TLS that ClickHouse's documentation and packages use: HTTPS and the native protocol.
    private static let portsWithTLS: Set = [8443, 9440]
    /// The ports without TLS.
    private static let plainPorts: Set = [8123, 9000]

    /// Reads a URL, or `host:port`.
    ///
    /// - Parameter disableTLS: Whether `host:port` is connected to without TLS; a URL's scheme decides by itself.
    init(_ text: String, disableTLS: Bool) {
        var text = text
        while text.hasSuffix("/") { text.removeLast() }
        self.text = text
        let isURL = text.hasPrefix("http://") || text.hasPrefix("https://")
        let nativePorts = [":9000": disableTLS ? ":8123" : ":8443", ":9440": ":8443"]
        if isURL {
            url = text
        } else if let (native, http) = nativePorts.first(where: { text.hasSuffix($0.key) }) {
            url = "\(disableTLS ? "http" : "https")://\(text.dropLast(native.count))\(http)"
        } else {
            url = "\(disableTLS ? "http" : "https")://\(text)"
        }
    }

    private var isURL: Bool { text == url }
    private var isEncrypted: Bool { url.hasPrefix("https://") }
    private var port: Int? { URLAuthority(text).port }

    /// The problem with connecting to a TLS port without TLS; nil if there is none.
    var plaintextOnTLSPort: String? {
        // Listeners on the loopback interface, such as kubectl port-forward or a proxy in the pod, may have any port.
        guard !isEncrypted, !URLAuthority(url).isLoopback, let port, Self.portsWithTLS.contains(port) else {
            return nil
        }
        return """
            '\(text)' is a TLS port, but requests and the password would be sent to it unencrypted: \
            \(isURL ? "write https://" : "remove clickhouse_disable_tls (the chart's inserter.disableTLS)"), or use \
            the port without TLS, 8123; if this port has no TLS, also set clickhouse_allow_plaintext_on_tls_port: true
            """
    }

    /// A warning that requests go to another port than the configured one; nil if they do not.
    var translation: String? {
        guard !isURL, port == 9000 || port == 9440 else { return nil }
        let remedy = remedy.map { "; \($0)" } ?? ""
        return "clickhouse_endpoint: '\(text)' is a port of the native protocol; using HTTP at \(url) instead\(remedy)"
    }

    /// The change to make if TLS fails at a port that has none by default; nil for other ports.
    var remedy: String? {
        guard isEncrypted, let port, Self.plainPorts.contains(port) else { return nil }
        return """
            port \(port) has no TLS by default: use 8443 if ClickHouse has TLS; otherwise write http://HOST:8123, or \
            HOST:8123 with clickhouse_disable_tls: true (the chart's inserter.disableTLS)
            """
    }
}
