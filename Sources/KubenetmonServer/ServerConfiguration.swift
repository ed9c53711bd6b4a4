// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowModel
import Foundation
import Kubernetes
import Labeling
import Operations
import StrictYAML

/// The server's settings, read from the configuration file and the credential files. Keys and defaults are kubenetmon's
/// where they exist there.
struct ServerConfiguration: Equatable, Sendable {
    var site: Site
    var port: Int
    var metricsPort: Int
    var labeling: Labeler.Configuration
    /// Which labels of pods fill which columns.
    var podLabels: PodLabelMapping
    var inventoryFile: String?
    var kubernetes: KubernetesSettings
    var cloudRanges: CloudRangeCatalog.Configuration
    var isClickHouseEnabled: Bool
    var clickHouse: ClickHouseClient.Configuration
    var inserterWorkers: Int
    var batchRows: Int
    var batchMaximumAge: Duration
    var shutdownTimeout: Duration
    /// What is worth a warning at start: settings that have no effect here or weaken something.
    var warnings: [String] = []

    /// Reads a file. Throws all of its problems at once.
    init(contentsOf path: String) throws(YAMLProblems) {
        try self.init(YAMLDocument(contentsOf: path))
    }

    /// Reads a text; `file` is what problems name as its origin.
    init(text: String, file: String) throws(YAMLProblems) {
        try self.init(YAMLDocument(text: text, file: file))
    }

    private init(_ document: YAMLDocument) throws(YAMLProblems) {
        self = try document.read { Self(&$0) }
    }

    private init(_ root: inout YAMLMapping) {
        let lowercased: (String) -> String? = { $0.lowercased().filter { !$0.isWhitespace } }
        site = Site(
            environment: root.string("environment"),
            cloud: root.value("cloud", as: "the name of a cloud", lowercased) ?? "",
            region: root.value("region", as: "the name of a region", lowercased) ?? "",
            cluster: root.string("cluster"))
        // `grpc_port` is kubenetmon's name for the port that agents dial.
        let ports = 1...65535
        let grpcPort = root.integer("grpc_port", in: ports, default: 8884)
        port = root.integer("port", in: ports, default: grpcPort)
        metricsPort = root.integer("metrics_port", in: ports, default: 8883)
        labeling = Self.labeling(&root)
        podLabels = Self.podLabels(&root, kept: labeling.flagRules.flatMap(\.podLabels.keys))
        inventoryFile = root.value("inventory_file", required: false, as: "a path") { $0 }
        kubernetes = Self.kubernetes(&root)
        cloudRanges = Self.cloudRanges(&root)
        isClickHouseEnabled = root.bool("clickhouse_enabled", default: true)
        inserterWorkers = root.integer("num_inserter_workers", in: 1...256, default: 20)
        batchRows = root.integer("clickhouse_batch_size", in: 1...1_000_000, default: 100_000)
        batchMaximumAge = Self.duration(&root, "clickhouse_batch_max_age", default: .seconds(5))
        shutdownTimeout = Self.duration(&root, "shutdown_timeout", default: .seconds(25))
        let disableTLS = root.bool("clickhouse_disable_tls", default: false)
        let endpoint = Self.endpoint(
            Self.withoutCredentials(
                root.string("clickhouse_endpoint", default: "clickhouse.default.svc.cluster.local:9000")),
            disableTLS: disableTLS)
        let skipVerify = root.bool("clickhouse_insecure_skip_verify", default: false)
        clickHouse = ClickHouseClient.Configuration(
            endpoint: endpoint.url,
            database: root.string("clickhouse_database", default: "default"),
            verifiesServer: !skipVerify,
            connectTimeoutMilliseconds: Self.duration(
                &root, "clickhouse_dial_timeout", default: .seconds(30)
            ).milliseconds,
            timeoutMilliseconds: Self.duration(
                &root, "clickhouse_timeout", default: .seconds(120)
            ).milliseconds)
        if skipVerify {
            warnings.append("clickhouse_insecure_skip_verify: ClickHouse's certificate is not checked")
        }
        warnings += endpoint.warnings
        readKeysWithoutEffect(&root)
    }

    /// Keys that kubenetmon's configuration files hold and that mean nothing here.
    private mutating func readKeysWithoutEffect(_ root: inout YAMLMapping) {
        if root.value("max_grpc_connection_age", required: false, as: Self.durationForm, Duration.init(goDuration:))
            != nil
        {
            warnings.append("max_grpc_connection_age has no effect: connections live until one side ends them")
        }
        if root.value(
            "clickhouse_batch_send_timeout", required: false, as: Self.durationForm, Duration.init(goDuration:))
            != nil
        {
            warnings.append(
                "clickhouse_batch_send_timeout has no effect: clickhouse_batch_max_age bounds a batch's age")
        }
        if !root.bool("clickhouse_wait_for_async_insert", default: true) {
            warnings.append(
                "clickhouse_wait_for_async_insert: false has no effect: agents are told that ClickHouse has their flows"
            )
        }
        if root.bool("clickhouse_skip_ping", default: false) {
            warnings.append("clickhouse_skip_ping has no effect: the table's columns are asked for at start")
        }
        _ = root.integer("clickhouse_max_idle_connections", in: 0...100_000, default: 50)
    }

    static let durationForm = "a duration such as 5s or 1m30s"

    static func duration(_ root: inout YAMLMapping, _ key: String, default: Duration) -> Duration {
        root.value(key, required: false, as: "\(durationForm) above zero") { text in
            Duration(goDuration: text).flatMap { $0 > .zero ? $0 : nil }
        } ?? `default`
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

    /// Whether pods, nodes and services come from the API server.
    var watchesCluster: Bool { kubernetes.isEnabled ?? (inventoryFile == nil) }

    /// Reads user and password from the files of a mounted secret; a file that does not exist leaves its part empty.
    mutating func readCredentials(directory: String) throws {
        clickHouse.user = try Self.line(of: "\(directory)/username")
        clickHouse.password = try Self.line(of: "\(directory)/password")
    }

    private static func line(of path: String) throws -> String {
        guard FileManager.default.fileExists(atPath: path) else { return "" }
        let text = try String(contentsOfFile: path, encoding: .utf8)
        return String(text.prefix { !$0.isNewline })
    }
}
