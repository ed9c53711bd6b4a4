// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import HTTPClient
import Operations

extension ServerConfiguration {
    /// The settings of the connection to ClickHouse.
    var clickHouse: ClickHouseClient.Configuration { inserter.client }

    /// Reads the inserter's settings, and the limit on blocks that are being filled or wait, in bytes.
    static func inserter(_ settings: inout SettingsReader) -> (Inserter.Configuration, maximumQueuedBytes: Int) {
        let mebibytes = 1 << 20
        let directory = settings.path(
            "clickhouse_quarantine_directory",
            "Directory for batches that ClickHouse will never take; unset, they are lost.")
        let deadLetterBytes = settings.integer(
            "clickhouse_quarantine_max_bytes", in: 1...Int.max, default: 256 * mebibytes, unit: "bytes",
            "How much is kept in clickhouse_quarantine_directory.")
        let client = client(&settings)
        // Each worker occupies a Dispatch thread, of which there are no more than about 250 in the process.
        let workers = settings.integer("num_inserter_workers", in: 1...64, default: 20, "Inserts at the same time.")
        let maximumQueuedBytes = settings.integer(
            "clickhouse_max_queued_bytes", in: mebibytes...Int.max, default: 40 * mebibytes, unit: "bytes",
            "How much may wait for ClickHouse; above, agents are not read from.")
        let inserter = Inserter.Configuration(
            client: client, workers: workers,
            compression: settings.choice(
                "clickhouse_compression", default: InsertCompression.lz4, "How inserts are compressed."),
            asyncInsert: settings.choice(
                "clickhouse_async_insert", default: AsyncInsert.automatic,
                "Whether ClickHouse gathers inserts; auto leaves small ones to it."),
            viewErrors: settings.choice(
                "clickhouse_view_errors", default: ViewErrors.automatic,
                """
                What becomes of a batch that a materialized view on the table fails on: ignore stores it without the view, \
                retry keeps it until the view takes it, auto tries again for a while where a retry completes the view and then \
                ignores it.
                """),
            deadLetters: directory.map {
                DeadLetterDirectory.Configuration(directory: $0, maximumBytes: deadLetterBytes)
            })
        return (inserter, maximumQueuedBytes)
    }

    private static func client(_ settings: inout SettingsReader) -> ClickHouseClient.Configuration {
        let disableTLS = settings.bool(
            "clickhouse_disable_tls", default: false, "Whether endpoints that are no URL are spoken to without TLS.")
        let allowsPlaintextOnTLSPort = settings.bool(
            "clickhouse_allow_plaintext_on_tls_port", default: false,
            "Whether an endpoint's port 8443 or 9440 may be spoken to without TLS.")
        var hasCredentials = false
        let endpoints = settings.text(
            "clickhouse_endpoint", default: "clickhouse.default.svc.cluster.local:9000",
            allowed: "a URL or host:port, or several with commas between them",
            """
            ClickHouse's HTTP interface; several are tried in their order. Ports of the native protocol are translated to \
            those of HTTP.
            """, .hidesCredentials,
            transform: { text in
                // Credentials in a URL would appear in logs and metrics.
                let given = text.split(separator: ",").map { $0.filter { !$0.isWhitespace } }
                let endpoints = given.map(\.withoutCredentials)
                hasCredentials = endpoints != given
                return endpoints.filter { !$0.isEmpty }.joined(separator: ",")
            }
        ).split(separator: ",").map { ClickHouseEndpoint(String($0), disableTLS: disableTLS) }
        if hasCredentials {
            settings.warn(
                """
                clickhouse_endpoint: user and password in it are ignored; they come from the files in \
                clickhouse_credentials_directory
                """)
        }
        for warning in endpoints.compactMap(\.translation) { settings.warn(warning) }
        if !allowsPlaintextOnTLSPort {
            for problem in endpoints.compactMap(\.plaintextOnTLSPort) {
                settings.report("clickhouse_endpoint", problem)
            }
        }
        let skipVerify = settings.bool(
            "clickhouse_insecure_skip_verify", default: false, "Whether ClickHouse's certificate is not checked.")
        if skipVerify { settings.warn("clickhouse_insecure_skip_verify: ClickHouse's certificate is not checked") }
        return ClickHouseClient.Configuration(
            endpoints: endpoints.map(\.url),
            remedies: Dictionary(
                endpoints.compactMap { endpoint in endpoint.remedy.map { (endpoint.url, $0) } },
                uniquingKeysWith: { first, _ in first }),
            database: settings.text(
                "clickhouse_database", default: "default", allowed: "the name of a database", "Database of the table."),
            credentials: credentials(&settings),
            headers: settings.structure(
                "clickhouse_headers", default: [:], "{}", allowed: "a mapping of names and texts",
                "Header fields that every request has besides.", .secret
            ) { $0.texts($1) },
            tls: tls(&settings, verifiesServer: !skipVerify),
            proxy: settings.value(
                "clickhouse_proxy", default: HTTPClient.Proxy.none,
                allowed: "none, environment or the http:// or https:// URL of a proxy",
                """
                Proxy between the server and ClickHouse: none, its URL, or environment for https_proxy, http_proxy, all_proxy \
                and no_proxy.
                """, .hidesCredentials, show: \.description, parse: HTTPClient.Proxy.init),
            userAgent: Daemon.userAgent("kubenetmon-server"),
            connectTimeoutMilliseconds: settings.duration(
                "clickhouse_dial_timeout", in: .milliseconds(100) ... .seconds(3600), default: .seconds(30),
                "How long a connection may take to be made."
            ).milliseconds,
            timeoutMilliseconds: settings.duration(
                "clickhouse_timeout", in: .seconds(1) ... .seconds(86400), default: .seconds(120),
                "How long a request may take."
            ).milliseconds)
    }

    private static func tls(_ settings: inout SettingsReader, verifiesServer: Bool) -> HTTPClient.TLS {
        let authorities = settings.path(
            "clickhouse_ca_file", "Certificates (PEM) that ClickHouse's may be signed by; the system's where unset.")
        let certificate = settings.path(
            "clickhouse_certificate_file", "Certificate (PEM) that the server shows to ClickHouse.")
        let key = settings.path("clickhouse_key_file", "Key (PEM) of clickhouse_certificate_file.")
        if certificate != nil, key == nil {
            settings.report("clickhouse_certificate_file", "is given without its clickhouse_key_file")
        } else if certificate == nil, key != nil {
            settings.report("clickhouse_key_file", "is given without its clickhouse_certificate_file")
        }
        return HTTPClient.TLS(
            verifiesServer: verifiesServer, authorities: authorities.map { .file($0) },
            certificate: certificate.map { .file($0) }, key: key.map { .file($0) })
    }

    /// Returns credentials whose user and password are read from the files of a mounted secret for every request; a
    /// missing file leaves its part empty.
    private static func credentials(_ settings: inout SettingsReader) -> ClickHouseCredentials {
        let directory = settings.text(
            "clickhouse_credentials_directory", default: "/etc/clickhouse", allowed: "a path",
            "Directory of the files username and password, read anew for every request.", .flag("--credentials"))
        return .files(user: "\(directory)/username", password: "\(directory)/password")
    }
}
