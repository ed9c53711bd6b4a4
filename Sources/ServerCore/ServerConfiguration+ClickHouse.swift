// SPDX-License-Identifier: Apache-2.0

package import ClickHouse
import HTTPClient
import Operations
import Settings

extension ServerConfiguration {
    /// The settings of the connection to ClickHouse.
    package var clickHouse: ClickHouseClient.Configuration { inserter.client }

    /// Reads the inserter's settings, and the limit on blocks that are being filled or wait, in bytes.
    static func inserter(_ settings: inout SettingsReader) -> (Inserter.Configuration, maximumQueuedBytes: Int) {
        let mebibytes = 1 << 20
        let directory = settings.path(
            "clickhouse_quarantine_directory",
            "Directory for rejected batches (dead letters); if unset, they are dropped.")
        let deadLetterBytes = settings.integer(
            "clickhouse_quarantine_max_bytes", in: 1...Int.max, default: 256 * mebibytes, unit: "bytes",
            "Size limit of clickhouse_quarantine_directory.")
        let client = client(&settings)
        // Each worker is a thread with its own connection to ClickHouse.
        let workers = settings.integer("num_inserter_workers", in: 1...64, default: 20, "Limit on concurrent inserts.")
        let maximumQueuedBytes = settings.integer(
            "clickhouse_max_queued_bytes", in: mebibytes...Int.max, default: 40 * mebibytes, unit: "bytes",
            "Memory limit of batches that wait or are being filled; above it, reading from agents is paused.")
        let inserter = Inserter.Configuration(
            client: client, workers: workers,
            compression: settings.choice(
                "clickhouse_compression", default: InsertCompression.lz4, "Compression of inserts."),
            asyncInsert: settings.choice(
                "clickhouse_async_insert", default: AsyncInsert.automatic,
                "Whether inserts are asynchronous, so that ClickHouse gathers them; auto does so for small batches."),
            viewErrors: settings.choice(
                "clickhouse_view_errors", default: ViewErrors.automatic,
                """
                Handling of a batch on which a materialized view of the table fails: ignore stores it without the \
                view, retry repeats the insert until the view accepts it, auto retries for a while if a retry \
                completes the view, then ignores the view.
                """),
            deadLetters: directory.map {
                DeadLetterDirectory.Configuration(directory: $0, maximumBytes: deadLetterBytes)
            })
        return (inserter, maximumQueuedBytes)
    }

    private static func client(_ settings: inout SettingsReader) -> ClickHouseClient.Configuration {
        let disableTLS = settings.bool(
            "clickhouse_disable_tls", default: false, "Connect without TLS to endpoints given as host:port.")
        let allowsPlaintextOnTLSPort = settings.bool(
            "clickhouse_allow_plaintext_on_tls_port", default: false,
            "Allow connections without TLS to port 8443 or 9440 of an endpoint.")
        var hasCredentials = false
        let endpoints = settings.text(
            "clickhouse_endpoint", default: "clickhouse.default.svc.cluster.local:9000",
            allowed: "a URL or host:port, or a comma-separated list of them",
            """
            ClickHouse's HTTP interface; several endpoints are tried in order. Ports of the native protocol are \
            replaced with those of HTTP.
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
                clickhouse_endpoint: the user and password in the URL are ignored; put them into the files username \
                and password in clickhouse_credentials_directory
                """)
        }
        for warning in endpoints.compactMap(\.translation) { settings.warn(warning) }
        if !allowsPlaintextOnTLSPort {
            for problem in endpoints.compactMap(\.plaintextOnTLSPort) {
                settings.report("clickhouse_endpoint", problem)
            }
        }
        let skipVerify = settings.bool(
            "clickhouse_insecure_skip_verify", default: false, "Skip the verification of ClickHouse's certificate.")
        if skipVerify { settings.warn("clickhouse_insecure_skip_verify: ClickHouse's certificate is not verified") }
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
                "Additional header fields of every request.", .secret
            ) { $0.texts($1) },
            tls: tls(&settings, verifiesServer: !skipVerify),
            proxy: settings.value(
                "clickhouse_proxy", default: HTTPClient.Proxy.none,
                allowed: "none, environment or the http:// or https:// URL of a proxy",
                """
                Proxy between the server and ClickHouse: none, its URL, or environment to read https_proxy, \
                http_proxy, all_proxy and no_proxy.
                """, .hidesCredentials, show: \.description, parse: HTTPClient.Proxy.init),
            userAgent: Daemon.userAgent("kubenetmon-server"),
            connectTimeoutMilliseconds: settings.duration(
                "clickhouse_dial_timeout", in: .milliseconds(100) ... .seconds(3600), default: .seconds(30),
                "Timeout for opening a connection."
            ).milliseconds,
            timeoutMilliseconds: settings.duration(
                "clickhouse_timeout", in: .seconds(1) ... .seconds(86400), default: .seconds(120),
                "Timeout of a request."
            ).milliseconds)
    }

    private static func tls(_ settings: inout SettingsReader, verifiesServer: Bool) -> HTTPClient.TLS {
        let authorities = settings.path(
            "clickhouse_ca_file",
            "CA certificates (PEM) trusted to sign ClickHouse's certificate; the system's if unset.")
        let certificate = settings.path(
            "clickhouse_certificate_file", "Client certificate (PEM) for ClickHouse.")
        let key = settings.path("clickhouse_key_file", "Private key (PEM) of clickhouse_certificate_file.")
        if certificate != nil, key == nil {
            settings.report("clickhouse_certificate_file", "is set without clickhouse_key_file")
        } else if certificate == nil, key != nil {
            settings.report("clickhouse_key_file", "is set without clickhouse_certificate_file")
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
            "Directory of the files username and password, which are read for every request.", .flag("--credentials"))
        return .files(
            user: "\(directory)/username", password: "\(directory)/password",
            areDefaults: !settings.isGiven("clickhouse_credentials_directory"))
    }
}
