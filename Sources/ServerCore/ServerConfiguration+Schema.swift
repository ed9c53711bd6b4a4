// SPDX-License-Identifier: Apache-2.0

package import HTTPClient
package import Migrations
import Settings

extension ServerConfiguration {
    /// The settings of ClickHouse's schema.
    package struct Schema: Equatable, Sendable {
        /// Whether the server changes the schema when it starts.
        package enum Updates: String, CaseIterable, Sendable {
            case off
            case automatic = "auto"
        }

        package var updates: Updates
        /// The ClickHouse cluster on whose servers all statements run; nil for none.
        package var cluster: String?
        /// The parts that are made beside the table of flows.
        package var parts: Set<SchemaPart>

        init(_ settings: inout SettingsReader) {
            updates = settings.value(
                "clickhouse_migrate", default: .off, allowed: "off or auto",
                """
                Whether the server creates and updates its tables in ClickHouse when it starts; if off, that is left to \
                kubenetmon-server migrate, or to the files of deploy/clickhouse.
                """, show: \.rawValue
            ) { text in
                // Helm writes off as false.
                text == "false" ? .off : Updates(rawValue: text)
            }
            let cluster = settings.text(
                "clickhouse_cluster", default: "",
                allowed: "the name of a ClickHouse cluster, or '{cluster}' for the macro of its servers",
                """
                ClickHouse cluster of Replicated tables: statements that change the schema run ON CLUSTER. Empty for a \
                single server and for services that replicate by themselves, such as ClickHouse Cloud.
                """)
            self.cluster = cluster.isEmpty ? nil : cluster
            parts = settings.value(
                "clickhouse_schema", default: SchemaPart.usual,
                allowed:
                    "a comma-separated list of \(SchemaPart.allCases.map(\.rawValue).joined(separator: ", ")), or an empty text",
                """
                Parts of the schema beside the table of flows: columns of 002_extended_columns.sql, the deduplication \
                window, the hourly rollup, the roles for writers and readers, and distributed tables that read all shards.
                """,
                show: { parts in SchemaPart.allCases.filter(parts.contains).map(\.rawValue).joined(separator: ",") }
            ) { text in
                let names = text.split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
                let parts = names.map(SchemaPart.init(rawValue:))
                return parts.contains(nil) ? nil : Set(parts.compactMap { $0 })
            }
        }
    }

    /// Returns the migration of the table and what belongs to it.
    package func migration(cancellation: HTTPCancellation? = nil) -> SchemaMigration {
        SchemaMigration(
            clickHouse, table: table, cluster: schema.cluster, parts: schema.parts, cancellation: cancellation)
    }
}
