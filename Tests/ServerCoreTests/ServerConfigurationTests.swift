// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowModel
import Foundation
import Labeling
import Operations
import Settings
import TestSupport
import Testing

import ServerCore

/// The required keys of every configuration.
private let required = """
    environment: production
    cloud: aws
    region: eu-central-1
    cluster: main

    """

private func configuration(_ text: String) throws -> ServerConfiguration { try ServerConfiguration.read(text).value }

/// The files in which kubenetmon keeps ClickHouse's user and password.
private let credentials = ClickHouseCredentials.files(
    user: "/etc/clickhouse/username", password: "/etc/clickhouse/password", areDefaults: true)

private func problems(_ text: String) -> [String] { ServerConfiguration.problems(text) }

@Suite struct ServerConfigurationTests {
    /// Every key that kubenetmon's chart writes, with the chart's defaults.
    @Test("the configuration file of kubenetmon's chart is read") func theFileOfKubenetmonsChartIsRead() throws {
        let (read, settings) = try ServerConfiguration.read(
            """
            metrics_port: 8883
            grpc_port: 8884
            environment: development
            cloud: aws
            region: US-West-2
            cluster: my-cluster
            max_grpc_connection_age: 300s
            num_inserter_workers: 20
            ignore_udp: true
            clickhouse_enabled: true
            clickhouse_database: default
            clickhouse_endpoint: clickhouse.default.svc.cluster.local:9000
            clickhouse_dial_timeout: 30s
            clickhouse_max_idle_connections: 50
            clickhouse_batch_size: 15000
            clickhouse_batch_send_timeout: 30s
            clickhouse_wait_for_async_insert: false
            clickhouse_skip_ping: false
            clickhouse_disable_tls: false
            clickhouse_insecure_skip_verify: false
            """)
        #expect(read.site == Site(environment: "development", cloud: "aws", region: "us-west-2", cluster: "my-cluster"))
        #expect(read.port == 8884 && read.metricsPort == 8883 && read.metricsAddress == nil)
        #expect(read.labeling == Labeler.Configuration(ignoreUDP: true, ignoreNodeFlows: true))
        #expect(read.isClickHouseEnabled)
        #expect(
            read.clickHouse
                == ClickHouseClient.Configuration(
                    endpoints: ["https://clickhouse.default.svc.cluster.local:8443"],
                    remedies: read.clickHouse.remedies, database: "default", credentials: credentials,
                    userAgent: Daemon.userAgent("kubenetmon-server"), connectTimeoutMilliseconds: 30_000))
        #expect(read.inserter.workers == 20 && read.batchRows == 15_000)
        #expect(settings.warnings.count == 4)
        for (warning, key) in zip(
            settings.warnings,
            [
                "clickhouse_endpoint", "clickhouse_batch_send_timeout", "clickhouse_wait_for_async_insert",
                "agents' connections are neither encrypted nor authenticated",
            ])
        { #expect(warning.hasPrefix(key)) }
    }

    @Test("settings that are not given have their defaults") func whatIsNotGivenHasADefaultThatWorks() throws {
        let read = try configuration(required)
        #expect(read.port == 8884 && read.metricsPort == 8883 && read.metricsAddress == nil)
        #expect(read.labeling == Labeler.Configuration())
        #expect(read.inventoryFile == nil && read.isClickHouseEnabled)
        #expect(read.inserter.workers == 20 && read.batchRows == 100_000)
        #expect(read.batchMaximumAge == .seconds(5) && read.shutdownTimeout == .seconds(25))
        #expect(read.clickHouse.endpoints == ["https://clickhouse.default.svc.cluster.local:8443"])
        #expect(read.clickHouse.timeoutMilliseconds == 120_000 && read.clickHouse.tls.verifiesServer)
    }

    @Test("every setting can be set in the file") func everythingCanBeSet() throws {
        let (read, settings) = try ServerConfiguration.read(
            """
            environment: "my environment"
            cloud: On Prem
            region: Cellar 2
            cluster: main
            port: 1000
            grpc_port: 2000
            metrics_port: 3000
            metrics_address: 2001:db8::1
            ignore_udp: F
            ignore_node_flows: "0"
            private_networks: [100.64.0.0/10, "2001:db8::/32"]
            inventory_file: /etc/inventory.yaml
            clickhouse_enabled: false
            num_inserter_workers: 2
            clickhouse_batch_size: 1
            clickhouse_batch_max_age: 500ms
            shutdown_timeout: 1m
            clickhouse_endpoint: http://db:8123
            clickhouse_database: net
            clickhouse_insecure_skip_verify: true
            clickhouse_dial_timeout: 1s
            clickhouse_timeout: 2s
            clickhouse_skip_ping: true
            """)
        #expect(read.site.cloud == "onprem" && read.site.region == "cellar2")
        #expect(read.site.environment == "my environment")
        #expect(read.port == 1000 && read.metricsPort == 3000 && read.metricsAddress == IPAddress("2001:db8::1"))
        #expect(!read.labeling.ignoreUDP && !read.labeling.ignoreNodeFlows)
        #expect(read.labeling.privateNetworks.map(\.description) == ["100.64.0.0/10", "2001:db8::/32"])
        #expect(read.inventoryFile == "/etc/inventory.yaml" && !read.isClickHouseEnabled)
        #expect(read.inserter.workers == 2 && read.batchRows == 1)
        #expect(read.batchMaximumAge == .milliseconds(500) && read.shutdownTimeout == .seconds(60))
        #expect(
            read.clickHouse
                == ClickHouseClient.Configuration(
                    endpoints: ["http://db:8123"], database: "net", credentials: credentials,
                    tls: .init(verifiesServer: false), userAgent: Daemon.userAgent("kubenetmon-server"),
                    connectTimeoutMilliseconds: 1_000, timeoutMilliseconds: 2_000))
        #expect(settings.warnings.count == 4)
        #expect(settings.warnings[0].hasPrefix("clickhouse_enabled: false"))
        #expect(settings.warnings[1].contains("certificate is not verified"))
        #expect(settings.warnings[2].hasPrefix("clickhouse_skip_ping"))
    }

    @Test(
        "an endpoint is converted to an HTTP URL",
        arguments: [
            // Hosts with a native-protocol port, as in kubenetmon's configuration.
            ("db:9000", false, "https://db:8443", true), ("db:9000", true, "http://db:8123", true),
            ("db:9440", false, "https://db:8443", true), ("[::1]:9000", true, "http://[::1]:8123", true),
            // Any other port is an HTTP port.
            ("db:8123", true, "http://db:8123", false), ("db:8443", false, "https://db:8443", false),
            ("db:19000", true, "http://db:19000", false), ("db", false, "https://db", false),
            // A URL is used unchanged.
            ("http://db:8123", false, "http://db:8123", false), ("http://db:9000", false, "http://db:9000", false),
            ("https://db:8443/", true, "https://db:8443", false),
            ("https://db/path//", false, "https://db/path", false),
            // Credentials would appear in logs.
            ("https://me:p@ss@db:8443", false, "https://db:8443", false),
        ])
    func anEndpointBecomesAURL(endpoint: String, disableTLS: Bool, url: String, isWarned: Bool) throws {
        let (read, settings) = try ServerConfiguration.read(
            "\(required)clickhouse_endpoint: \"\(endpoint)\"\nclickhouse_disable_tls: \(disableTLS)")
        #expect(read.clickHouse.endpoints == [url])
        #expect(settings.warnings.contains { $0.contains("'\(endpoint)'") && $0.contains(url) } == isWarned)
    }

    @Test(
        "plaintext at a TLS port requires a second setting",
        arguments: [
            ("db:9440", "clickhouse_disable_tls", "clickhouse_disable_tls: true"),
            ("db:8443", "clickhouse_disable_tls", "clickhouse_disable_tls: true"),
            ("[fd00::1]:8443", "clickhouse_disable_tls", "clickhouse_disable_tls: true"),
            ("a:8123,db:9440", "clickhouse_disable_tls", "clickhouse_disable_tls: true"),
            ("http://db:8443", "write https://", ""), ("http://db:9440/x", "write https://", ""),
        ])
    func plaintextOnTLSPort(endpoint: String, remedy: String, setting: String) throws {
        let text = "\(required)clickhouse_endpoint: \"\(endpoint)\"\n\(setting)\n"
        let found = problems(text)
        #expect(found.count == 1)
        let problem = found.first ?? ""
        #expect(problem.hasPrefix("config.yaml:5: clickhouse_endpoint: "), "\(problem)")
        for part in [remedy, "8123", "clickhouse_allow_plaintext_on_tls_port: true"] {
            #expect(problem.contains(part), "\(problem)")
        }
        let read = try configuration("\(text)clickhouse_allow_plaintext_on_tls_port: true")
        #expect(read.clickHouse.endpoints.allSatisfy { $0.hasPrefix("http://") })
        // Loopback endpoints are allowed, because kubectl port-forward uses such ports.
        for local in ["http://127.0.0.1:8443", "http://localhost:9440", "http://[::1]:8443"] {
            #expect(problems("\(required)clickhouse_endpoint: \"\(local)\"") == [])
        }
    }

    @Test(
        "for TLS at a plaintext port, the remedy names the setting",
        arguments: [
            ("db:9000", "https://db:8443"), ("db:8123", "https://db:8123"), ("https://db:8123", "https://db:8123"),
            ("https://db:9000", "https://db:9000"),
        ])
    func tlsOnPlainPort(endpoint: String, url: String) throws {
        let read = try configuration("\(required)clickhouse_endpoint: \(endpoint)")
        #expect(read.clickHouse.endpoints == [url])
        #expect(read.clickHouse.remedies[url]?.contains("clickhouse_disable_tls: true") == true)
        #expect(read.clickHouse.remedies[url]?.contains("inserter.disableTLS") == true)
        for other in ["db:8443", "db:9440", "http://db:8123", "db"] {
            #expect(try configuration("\(required)clickhouse_endpoint: \(other)").clickHouse.remedies == [:])
        }
    }

    @Test(
        "a password sent to another machine without TLS causes a warning",
        arguments: [
            ("http://db:8123", "", "secret", "password is sent unencrypted to http://db:8123: "),
            ("db:9000", "clickhouse_disable_tls: true", "secret", "unencrypted to http://db:8123: "),
            ("https://db,http://other:8123", "", "secret", "unencrypted to http://other:8123: "),
            ("http://db:8123", "clickhouse_headers: {X-Token: secret}", "", "clickhouse_headers are sent unencrypted"),
            ("http://db:8123", "", "", nil), ("https://db:8443", "", "secret", nil),
            ("http://127.0.0.2:8123", "", "secret", nil), ("http://[::1]:8123", "", "secret", nil),
            ("http://localhost:8123", "", "secret", nil),
            ("http://db:8123", "clickhouse_enabled: false", "secret", nil),
        ])
    func exposedPassword(endpoint: String, setting: String, password: String, warning: String?) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try password.write(to: folder.appending(path: "password"), atomically: true, encoding: .utf8)
        let warnings = try configuration(
            """
            \(required)clickhouse_credentials_directory: \(folder.path)
            clickhouse_endpoint: "\(endpoint)"
            \(setting)
            """
        ).warningsOfFiles()
        #expect(warnings.count == (warning == nil ? 0 : 1))
        #expect(warnings.allSatisfy { $0.contains(warning ?? "") && $0.contains("https://") && !$0.contains("secret") })
    }

    @Test("several endpoints are separated by commas") func severalEndpointsStandBehindOneAnother() throws {
        let (read, settings) = try ServerConfiguration.read(
            "\(required)clickhouse_endpoint: http://a:8123, b:9000 ,https://me:p@c\n")
        #expect(read.clickHouse.endpoints == ["http://a:8123", "https://b:8443", "https://c"])
        #expect(settings.warnings.count == 3)
    }

    @Test("every setting about inserts is read") func howRowsAreSentCanBeSaid() throws {
        let read = try configuration(
            """
            \(required)clickhouse_endpoint: https://db:8443
            clickhouse_table: flows
            clickhouse_compression: zstd
            clickhouse_async_insert: true
            clickhouse_view_errors: retry
            clickhouse_proxy: http://me:p@proxy:3128
            clickhouse_ca_file: /etc/tls/ca.crt
            clickhouse_certificate_file: /etc/tls/tls.crt
            clickhouse_key_file: /etc/tls/tls.key
            clickhouse_headers: {X-Route: a b}
            clickhouse_max_queued_bytes: 1048576
            clickhouse_quarantine_directory: /var/quarantine
            clickhouse_quarantine_max_bytes: 1000
            """)
        #expect(read.table == "flows")
        #expect(
            read.inserter
                == Inserter.Configuration(
                    client: ClickHouseClient.Configuration(
                        endpoints: ["https://db:8443"], credentials: credentials, headers: ["X-Route": "a b"],
                        tls: .init(
                            authorities: .file("/etc/tls/ca.crt"), certificate: .file("/etc/tls/tls.crt"),
                            key: .file("/etc/tls/tls.key")), proxy: .url("http://me:p@proxy:3128"),
                        userAgent: Daemon.userAgent("kubenetmon-server")),
                    workers: 20, compression: .zstd, asyncInsert: .always, viewErrors: .retried,
                    deadLetters: .init(directory: "/var/quarantine", maximumBytes: 1000)))
        #expect(read.maximumQueuedBytes == 1_048_576)
        let other = try configuration(required).inserter
        #expect(other.compression == .lz4 && other.asyncInsert == .automatic && other.deadLetters == nil)
        #expect(other.viewErrors == .automatic && other.client.proxy == .none)
        #expect(problems("\(required)clickhouse_compression: gzip").first?.contains("none, lz4 or zstd") == true)
        #expect(
            problems("\(required)clickhouse_certificate_file: a.pem").first?.contains("clickhouse_key_file") == true)
    }

    @Test("a proxy's credentials are used and not shown")
    func proxyCredentials() throws {
        let (read, settings) = try ServerConfiguration.read("\(required)clickhouse_proxy: http://me:p@ss@proxy:3128")
        #expect(read.clickHouse.proxy == .url("http://me:p@ss@proxy:3128"))
        #expect(settings.settings.first { $0.key == "clickhouse_proxy" }?.value == "http://proxy:3128")
        let problem = problems("\(required)clickhouse_proxy: proxy:3128").first
        #expect(problem?.contains("is not none, environment or the http:// or https:// URL of a proxy") == true)
    }

    @Test("all missing keys are reported together") func missingKeysAreToldTogether() {
        #expect(
            problems("port: 1\n").map { $0.split(separator: " (or")[0] }
                == ["environment", "cloud", "region", "cluster"].map { "config.yaml:1: missing key '\($0)'" })
    }

    @Test(arguments: [
        ("clickhouse_endpont: db", "unknown key 'clickhouse_endpont'; did you mean 'clickhouse_endpoint'?"),
        ("metrics_port: 0", "metrics_port: '0' is not a whole number from 1 to 65535"),
        ("metrics_address: localhost", "metrics_address: 'localhost' is not an IPv4 or IPv6 address"),
        ("grpc_port: many", "grpc_port: 'many' is not a whole number from 1 to 65535"),
        ("port: 65536", "port: '65536' is not a whole number from 1 to 65535"),
        ("ignore_udp: yes", "ignore_udp: 'yes' is not true or false"),
        ("num_inserter_workers: 0", "num_inserter_workers: '0' is not a whole number from 1 to 64"),
        ("num_inserter_workers: 65", "num_inserter_workers: '65' is not a whole number from 1 to 64"),
        ("clickhouse_batch_size: 1e3", "clickhouse_batch_size: '1e3' is not a number of rows from 1 to 1000000"),
        (
            "clickhouse_dial_timeout: 30",
            "clickhouse_dial_timeout: '30' is not a duration from 100ms to 1h, such as 5s or 1m30s"
        ),
        ("clickhouse_timeout: 0s", "clickhouse_timeout: '0s' is not a duration from 1s to 24h, such as 5s or 1m30s"),
        (
            "max_grpc_connection_age: old",
            "max_grpc_connection_age: 'old' is not a duration from 1s to 8760h, or 0s, such as 5s"
        ),
        (
            "private_networks: [10.0.0.1/8]",
            "private_networks[0]: '10.0.0.1/8' has host bits set; the network is 10.0.0.0/8"
        ),
        ("private_networks: 10.0.0.0/8", "private_networks: expected a list, found a single value"),
        ("cloud: gcp", "duplicate key 'cloud'"),
    ])
    func aProblemNamesFileLineKeyAndWhatIsAllowed(line: String, problem: String) {
        let found = problems(required + line)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("config.yaml:5: ") == true)
        #expect(found.first?.contains(problem) == true, "\(found)")
    }

    @Test("mistakes are reported in the order of their lines") func allProblemsAreToldInTheOrderOfTheirLines() {
        let found = problems("\(required)port: x\nno_such_key: 1\nmetrics_port: y\n")
        #expect(found.map { $0.prefix(14) } == ["config.yaml:5:", "config.yaml:6:", "config.yaml:7:"])
    }

    @Test("a configuration is read from a pipe once; a reload refuses it")
    func pipe() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("\(required)port: 1234\n".utf8))
        try pipe.fileHandleForWriting.close()
        let file = ConfigurationFile(path: "/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)")
        #expect(try file.read().value.port == 1234)
        let path = try #require(file.path)
        #expect(FileVersion(of: path) == nil)
        let error = #expect(throws: SettingsProblems.self) { try file.read(isReload: true) }
        #expect(error?.description == "\(path): cannot be read: it is not a regular file")
    }

    @Test("a missing configuration file is named") func aFileThatIsNotThereIsNamed() {
        let error = #expect(throws: SettingsProblems.self) {
            try ConfigurationFile(path: "/nowhere/config.yaml").read()
        }
        #expect(error?.description == "/nowhere/config.yaml: cannot be read: No such file or directory")
    }

    /// Settings that require or exclude each other.
    @Test(
        "settings that contradict each other are reported",
        arguments: [
            ("clickhouse_certificate_file: a.pem", "clickhouse_certificate_file: is set without clickhouse_key_file"),
            ("clickhouse_key_file: a.pem", "clickhouse_key_file: is set without clickhouse_certificate_file"),
            ("metrics_port: 8884", "metrics_port: is the port that agents connect to"),
        ])
    func contradictionsAreProblems(line: String, problem: String) {
        #expect(problems(required + line) == ["config.yaml:5: \(problem)"])
    }

    /// KUBENETMON_SERVER_PORT, which Kubernetes sets for a service called kubenetmon-server, has no effect.
    @Test("environment variables and flags configure the server without a file")
    func everythingCanBeSaidByVariablesAlone() throws {
        let environment = [
            "ENVIRONMENT": "production", "CLOUD": "aws", "REGION": "eu-central-1", "CLUSTER": "main", "PORT": "1",
            "PRIVATE_NETWORKS": "[100.64.0.0/10]", "POD_LABELS_APP": "[app]", "CLOUD_RANGES_AWS": "off",
            "CONNECTION_FLAGS": "[{name: dns, ports: [53]}]", "CLICKHOUSE_HEADERS": "{X-Token: s3cret}",
        ]
        let (read, settings) = try ServerConfiguration.read(
            nil, arguments: ["--inventory", "/i.yaml", "--cloud-ranges-gcp=off"],
            environment: Dictionary(
                environment.map { ("KUBENETMON_CONFIG_\($0)", $1) }
                    + [("KUBENETMON_SERVER_PORT", "tcp://10.96.0.80:8884"), ("PORT", "7")], uniquingKeysWith: { $1 }))
        #expect(read.site == Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main"))
        #expect(read.port == 1 && read.labeling.privateNetworks.count == 1 && read.podLabels.keys[.app] == ["app"])
        #expect(read.labeling.flagRules.map(\.ports) == [[53]])
        #expect(read.clickHouse.headers == ["X-Token": "s3cret"])
        #expect(read.inventoryFile == "/i.yaml")
        #expect(Set(read.cloudRanges.sources.keys).isDisjoint(with: [.aws, .gcp]))
        #expect(!settings.description.contains("s3cret"))
        #expect(settings.description.contains("# KUBENETMON_CONFIG_CONNECTION_FLAGS"))
    }

    @Test(
        "credentials in an endpoint are neither shown nor used",
        arguments: [
            ("https://me:p@ss@db:8443", "https://db:8443", "https://db:8443"),
            ("me:p@ss@db:8443", "db:8443", "https://db:8443"),
            ("me:p@ss@db:9440", "db:9440", "https://db:8443"),
            ("db:8443, http://me:p@ss@other:8123/a@b", "db:8443,http://other:8123/a@b", "https://db:8443"),
        ])
    func credentialsOfAnEndpointAreNeitherShownNorUsed(given: String, shown: String, used: String) throws {
        let (read, settings) = try ServerConfiguration.read("\(required)clickhouse_endpoint: \(given)")
        #expect(read.clickHouse.endpoints.first == used)
        #expect(settings.settings.first { $0.key == "clickhouse_endpoint" }?.value == shown)
        #expect(!"\(settings.description) \(read.clickHouse.endpoints)".contains("ss@"))
        #expect(
            settings.warnings.contains {
                $0.hasPrefix("clickhouse_endpoint: the user and password in the URL are ignored")
            })
    }

    @Test("an endpoint without credentials causes no warning")
    func anEndpointWithoutCredentialsIsNoCauseForAWarning() throws {
        let settings = try ServerConfiguration.read("\(required)clickhouse_endpoint: http://db:8123/a@b, db:8443")
            .settings
        #expect(!settings.warnings.contains { $0.hasPrefix("clickhouse_endpoint: ") })
    }

    @Test("credentials in a list's URL are used and not shown")
    func credentialsOfAListsURLAreUsedAndNotShown() throws {
        let (old, before) = try ServerConfiguration.read("\(required)cloud_ranges: {aws: 'https://me:0ld@host/list'}")
        let (new, after) = try ServerConfiguration.read("\(required)cloud_ranges: {aws: 'https://me:n3w@host/list'}")
        #expect(old.cloudRanges.sources[.aws] == .url("https://me:0ld@host/list"))
        #expect(new.cloudRanges.sources[.aws] == .url("https://me:n3w@host/list"))
        #expect(after.description.contains("cloud_ranges.aws: https://host/list "))
        let changes = before.changes(to: after).map(\.description)
        #expect(changes.count == 1)
        for text in [before.description, after.description] + changes {
            #expect(!text.contains("0ld") && !text.contains("n3w"))
        }
        let problems = problems("\(required)cloud_ranges: {aws: 'ftp://me:s3cret@host/list'}")
        #expect(problems.count == 1)
        #expect(problems.first?.contains("cloud_ranges.aws: is not 'off', an https://") == true, "\(problems)")
        #expect(problems.first?.contains("s3cret") == false)
    }

    @Test("the server's table in docs/configuration.md equals the declared settings")
    func theReferenceIsCurrent() throws {
        #expect(
            try String(contentsOf: Repository.file("docs/configuration.md"), encoding: .utf8)
                .contains(ServerConfiguration.declarations.markdown(hasFile: true)),
            "docs/configuration.md is stale: make configuration-reference")
    }

    @Test(
        "username and password are the first lines of their files",
        arguments: [
            (nil, nil, "", ""), ("kube\n", "s3cret\n", "kube", "s3cret"),
            ("kube", "a b:\"'\\ \r\nrest", "kube", "a b:\"'\\ "),
            ("", "\n", "", ""), (nil, "ünïcode", "", "ünïcode"),
        ] as [(String?, String?, String, String)])
    func credentialsAreTheFirstLinesOfTheirFiles(
        username: String?, password: String?, user: String, key: String
    ) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try username?.write(to: folder.appending(path: "username"), atomically: true, encoding: .utf8)
        try password?.write(to: folder.appending(path: "password"), atomically: true, encoding: .utf8)
        func read(_ directory: String) throws -> (user: String, password: String) {
            try ServerConfiguration.read(required, arguments: ["--credentials", directory]).value.clickHouse
                .credentials.read()
        }
        #expect(try read(folder.path) == (user, key))
        #expect(try read("/nowhere") == ("", ""))
    }
}
