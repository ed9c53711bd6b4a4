// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import CloudRanges
import FlowModel
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
    var table: String
    var inserter: Inserter.Configuration
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
        batchRows = root.integer("clickhouse_batch_size", in: 1...1_000_000, default: 100_000)
        batchMaximumAge = Self.duration(&root, "clickhouse_batch_max_age", default: .seconds(5))
        shutdownTimeout = Self.duration(&root, "shutdown_timeout", default: .seconds(25))
        table = root.string("clickhouse_table", default: TableSchema.defaultTable)
        inserter = Self.inserter(&root, &warnings)
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

    /// Whether pods, nodes and services come from the API server.
    var watchesCluster: Bool { kubernetes.isEnabled ?? (inventoryFile == nil) }
}
