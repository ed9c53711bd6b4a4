// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import HTTPClient
import StrictYAML

extension ServerConfiguration {
    /// Where rows go.
    var clickHouse: ClickHouseClient.Configuration { inserter.client }

    /// How rows are sent.
    static func inserter(_ root: inout YAMLMapping, _ warnings: inout [String]) -> Inserter.Configuration {
        let mebibytes = 1 << 20
        let directory = root.value("clickhouse_quarantine_directory", required: false, as: "a path") { $0 }
        let quarantineBytes = root.integer(
            "clickhouse_quarantine_max_bytes", in: 1...Int.max, default: 256 * mebibytes)
        return Inserter.Configuration(
            client: client(&root, &warnings),
            workers: root.integer("num_inserter_workers", in: 1...256, default: 20),
            maximumQueuedBytes: root.integer(
                "clickhouse_max_queued_bytes", in: mebibytes...Int.max, default: 64 * mebibytes),
            compression: root.value(
                "clickhouse_compression", required: false, as: "none, lz4 or zstd", InsertCompression.init(rawValue:))
                ?? .lz4,
            asyncInsert: root.value(
                "clickhouse_async_insert", required: false, as: "auto, true or false", AsyncInsert.init(rawValue:))
                ?? .automatic,
            quarantine: directory.map { Quarantine.Configuration(directory: $0, maximumBytes: quarantineBytes) })
    }

    private static func client(
        _ root: inout YAMLMapping, _ warnings: inout [String]
    ) -> ClickHouseClient.Configuration {
        let disableTLS = root.bool("clickhouse_disable_tls", default: false)
        // Several stand behind one another, with commas between them.
        let endpoints = root.string("clickhouse_endpoint", default: "clickhouse.default.svc.cluster.local:9000")
            .split(separator: ",", omittingEmptySubsequences: false)
            .map { endpoint(withoutCredentials($0.filter { !$0.isWhitespace }), disableTLS: disableTLS) }
        warnings += endpoints.flatMap(\.warnings)
        let skipVerify = root.bool("clickhouse_insecure_skip_verify", default: false)
        if skipVerify {
            warnings.append("clickhouse_insecure_skip_verify: ClickHouse's certificate is not checked")
        }
        let certificate = file(&root, "clickhouse_certificate_file")
        return ClickHouseClient.Configuration(
            endpoints: endpoints.map(\.url), database: root.string("clickhouse_database", default: "default"),
            headers: root.texts("clickhouse_headers"),
            tls: HTTPClient.TLS(
                verifiesServer: !skipVerify, authorities: file(&root, "clickhouse_ca_file"), certificate: certificate,
                key: file(&root, "clickhouse_key_file", required: certificate != nil)),
            connectTimeoutMilliseconds: duration(
                &root, "clickhouse_dial_timeout", default: .seconds(30)
            ).milliseconds,
            timeoutMilliseconds: duration(&root, "clickhouse_timeout", default: .seconds(120)).milliseconds)
    }

    private static func file(
        _ root: inout YAMLMapping, _ key: String, required: Bool = false
    ) -> HTTPClient.TLS.PEM? {
        root.value(key, required: required, as: "a path") { HTTPClient.TLS.PEM.file($0) }
    }

    /// Lets user and password come from the files of a mounted secret, read anew for every request; a file that does not
    /// exist leaves its part empty. Throws where one cannot be read.
    mutating func readCredentials(directory: String) throws {
        inserter.client.credentials = .files(user: "\(directory)/username", password: "\(directory)/password")
        _ = try inserter.client.credentials.read()
    }

    /// Drops the `user:password@` of a URL: it would stand in logs. Credentials come from their files.
    private static func withoutCredentials(_ endpoint: String) -> String {
        guard let scheme = endpoint.firstRange(of: "://") else { return endpoint }
        let authority = endpoint[scheme.upperBound...].prefix { $0 != "/" }
        guard let at = authority.lastIndex(of: "@") else { return endpoint }
        return String(endpoint[..<scheme.upperBound] + endpoint[endpoint.index(after: at)...])
    }

    /// Takes a URL as it is, and makes one of kubenetmon's `host:port`, whose well-known ports of the native protocol
    /// become those of HTTP.
    private static func endpoint(_ text: String, disableTLS: Bool) -> (url: String, warnings: [String]) {
        var text = text
        while text.hasSuffix("/") { text.removeLast() }
        if text.hasPrefix("http://") || text.hasPrefix("https://") { return (text, []) }
        let scheme = disableTLS ? "http" : "https"
        let nativePorts = [":9000": disableTLS ? ":8123" : ":8443", ":9440": ":8443"]
        for (native, http) in nativePorts where text.hasSuffix(native) {
            let url = "\(scheme)://\(text.dropLast(native.count))\(http)"
            return (
                url,
                ["clickhouse_endpoint: '\(text)' is a port of the native protocol; using HTTP at \(url) instead"]
            )
        }
        return ("\(scheme)://\(text)", [])
    }
}
