// SPDX-License-Identifier: Apache-2.0

/// A file of deploy/clickhouse, compiled into the program.
enum SchemaFile: String, CaseIterable, Sendable {
    case table = "001_network_flows_0.sql"
    case columns = "002_extended_columns.sql"
    case window = "003_deduplication_window.sql"
    case rollup = "004_rollup_hourly.sql"
    case roles = "005_roles.sql"
    case cluster = "006_replicated_on_cluster.sql"
    case distributed = "007_distributed.sql"

    /// The file's statements.
    var statements: [SQLStatement] { SQLStatement.statements(of: String(decoding: bytes, as: UTF8.self)) }

    /// The statements that give the rollup's view the SELECT of this release.
    static var viewUpdates: [SQLStatement] {
        rollup.statements.filter { $0.words.starts(with: ["ALTER"]) }
    }

    // SwiftPM replaces a digit at the beginning of a file's name with an underscore.
    private var bytes: [UInt8] {
        switch self {
        case .table: PackageResources._01_network_flows_0_sql
        case .columns: PackageResources._02_extended_columns_sql
        case .window: PackageResources._03_deduplication_window_sql
        case .rollup: PackageResources._04_rollup_hourly_sql
        case .roles: PackageResources._05_roles_sql
        case .cluster: PackageResources._06_replicated_on_cluster_sql
        case .distributed: PackageResources._07_distributed_sql
        }
    }
}
