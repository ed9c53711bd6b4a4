// SPDX-License-Identifier: Apache-2.0

package import ClickHouse
package import CloudRanges
package import DocumentTree
package import FlowModel
package import KubernetesAPI
package import Labeling
import Logs
package import Settings
import YAMLParsing

/// The server's settings. Keys and defaults are those of ClickHouse's kubenetmon where it has them.
package struct ServerConfiguration: Equatable, Sendable {
    package var site: Site
    package var port: Int
    package var metricsPort: Int
    /// The address of the metrics port besides 127.0.0.1; nil for all of the host's addresses.
    package var metricsAddress: IPAddress?
    /// The clients that get the status page.
    var statusPage: StatusPage.Audience
    package var labeling: Labeler.Configuration
    /// The pod labels that fill each column.
    package var podLabels: PodLabelMapping
    package var inventoryFile: String?
    package var kubernetes: KubernetesSettings
    package var cloudRanges: CloudRangeCatalog.Configuration
    package var isClickHouseEnabled: Bool
    package var table: String
    package var schema: Schema
    package var inserter: Inserter.Configuration
    /// The limit on the memory of blocks that are being filled or wait for ClickHouse, in bytes.
    package var maximumQueuedBytes: Int
    package var batchRows: Int
    package var batchMaximumAge: Duration
    package var shutdownTimeout: Duration
    var logging: LogConfiguration
    package var agents: AgentAccess

    /// The prefix of environment variables. Kubernetes itself sets `KUBENETMON_SERVER_PORT` where there is a service of
    /// that name.
    static let variablePrefix = "KUBENETMON_CONFIG_"

    /// Every setting with its default.
    package static var declarations: EffectiveSettings {
        SettingsReader.declarations(variablePrefix: variablePrefix) { _ = Self(&$0) }
    }

    /// Returns the sources of the settings.
    ///
    /// - Parameters:
    ///   - arguments: Flags with their values.
    ///   - environment: The environment variables.
    ///   - document: The configuration file, or its problems; nil if there is none.
    package static func sources(
        arguments: [String] = [], environment: [String: String] = [:],
        document: Result<Document, DocumentProblems>?
    ) -> SettingsSources {
        SettingsSources(
            arguments: arguments, environment: environment, variablePrefix: variablePrefix, document: document,
            parse: { text, origin throws(DocumentProblems) in try Document(text: text, file: origin) })
    }

    /// Reads the settings.
    package init(_ settings: inout SettingsReader) {
        site = Self.site(&settings)
        let ports = 1...65535
        port = settings.integer("port", in: ports, default: 8884, "Port that agents connect to.", .alias("grpc_port"))
        metricsPort = settings.integer(
            "metrics_port", in: ports, default: 8883, "Port for /metrics, /live, /ready and the status page.")
        metricsAddress = settings.address(
            "metrics_address",
            "Address that metrics_port listens on, besides 127.0.0.1; all of the host's addresses if unset.")
        statusPage = settings.choice(
            "status_page", default: StatusPage.Audience.local,
            """
            Clients that get the status page at / on metrics_port, which names workloads, pods and their peers: \
            everyone for all clients, local for clients on the host itself (such as kubectl port-forward), off for \
            none.
            """)
        if port == metricsPort { settings.report("metrics_port", "is the port that agents connect to") }
        labeling = Self.labeling(&settings)
        podLabels = Self.podLabels(&settings, kept: labeling.flagRules.flatMap(\.podLabels.keys))
        inventoryFile = settings.path(
            "inventory_file",
            """
            Inventory of nodes, pods and ranges (YAML). With an inventory, the Kubernetes API is watched only if \
            kubernetes.enabled is true.
            """, .flag("--inventory"))
        kubernetes = KubernetesSettings(
            isEnabled: settings.boolIfGiven(
                "kubernetes.enabled", default: "true without an inventory_file",
                "Watch pods, nodes and services through the Kubernetes API."),
            watchesReplicaSets: settings.bool(
                "kubernetes.replica_sets", default: true,
                "Label pods with the owner of their ReplicaSet, such as a Deployment."))
        cloudRanges = Self.cloudRanges(&settings)
        isClickHouseEnabled = settings.bool(
            "clickhouse_enabled", default: true,
            "Store flows; if false, they are labelled, counted and dropped.")
        if !isClickHouseEnabled {
            settings.warn("clickhouse_enabled: false stores nothing: flows are labelled, counted and dropped")
        }
        batchRows = settings.integer(
            "clickhouse_batch_size", in: 1...1_000_000, default: 100_000, unit: "rows",
            "Number of rows at which a batch is inserted.")
        batchMaximumAge = settings.duration(
            "clickhouse_batch_max_age", in: .milliseconds(10) ... .seconds(3600), default: .seconds(5),
            "Age at which a batch is inserted regardless of its size.")
        shutdownTimeout = settings.duration(
            "shutdown_timeout", in: .milliseconds(100) ... .seconds(3600), default: .seconds(25),
            "Time to finish inserts when shutting down.")
        table = settings.text(
            "clickhouse_table", default: TableSchema.defaultTable, allowed: "the name of a table",
            "Table that rows are inserted into.")
        schema = Schema(&settings)
        (inserter, maximumQueuedBytes) = Self.inserter(&settings)
        logging = LogConfiguration(&settings, isReloadable: true)
        Self.readKeysWithoutEffect(&settings)
        agents = AgentAccess(&settings)
        if !watchesCluster { Self.warnOfLabels(&settings, labeling.flagRules) }
    }

    private static func site(_ settings: inout SettingsReader) -> Site {
        let lowercased: (String) -> String = { $0.lowercased().filter { !$0.isWhitespace } }
        return Site(
            environment: settings.text(
                "environment", allowed: "the name of an environment, such as production",
                "Value of the column environment."),
            cloud: settings.text(
                "cloud", allowed: "the name of a cloud, such as aws",
                "Cloud of the cluster: aws, gcp, azure or your own name.",
                transform: lowercased),
            region: settings.text(
                "region", allowed: "the name of a region, such as eu-central-1",
                "Region of the cluster, as its cloud names it.", transform: lowercased),
            cluster: settings.text("cluster", allowed: "the name of a cluster", "Name of the cluster."))
    }

    /// Reads the keys of kubenetmon's configuration files that have no effect here.
    private static func readKeysWithoutEffect(_ settings: inout SettingsReader) {
        let help = "No effect; accepted because ClickHouse's kubenetmon has this key."
        _ = settings.duration(
            "clickhouse_batch_send_timeout", in: .nanoseconds(1) ... .seconds(365 * 86400), orZero: true,
            default: .seconds(30), help)
        if settings.isGiven("clickhouse_batch_send_timeout") {
            settings.warn("clickhouse_batch_send_timeout has no effect: clickhouse_batch_max_age bounds a batch's age")
        }
        if !settings.bool("clickhouse_wait_for_async_insert", default: true, help) {
            settings.warn(
                "clickhouse_wait_for_async_insert: false has no effect: only stored batches are acknowledged"
            )
        }
        if settings.bool("clickhouse_skip_ping", default: false, help) {
            settings.warn("clickhouse_skip_ping has no effect: the server reads the table's columns at start")
        }
        _ = settings.integer("clickhouse_max_idle_connections", in: 0...100_000, default: 50, help)
    }

    /// Whether pods, nodes and services come from the API server.
    package var watchesCluster: Bool { kubernetes.isEnabled ?? (inventoryFile == nil) }

    /// Whether the server sends requests to the API server.
    var needsCluster: Bool { watchesCluster || agents.authentication == .kubernetes }
}
