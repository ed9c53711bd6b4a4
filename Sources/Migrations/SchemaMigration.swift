// SPDX-License-Identifier: Apache-2.0

public import ClickHouse
public import HTTPClient

/// Creates and updates the schema of deploy/clickhouse. It adds what is missing and never drops or rewrites rows; applied
/// again, or by two processes at a time, it has the same result, because each statement does nothing if its result exists.
public struct SchemaMigration: Sendable {
    private let configuration: ClickHouseClient.Configuration
    private let names: SchemaNames
    private let parts: Set<SchemaPart>
    private let cancellation: HTTPCancellation?

    /// Makes a migration.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the connection, with the database of the tables, which need not exist.
    ///   - table: The name of the table of flows.
    ///   - cluster: The ClickHouse cluster whose servers run the statements (`ON CLUSTER`); nil for none.
    ///   - parts: The parts that are made beside the table of flows.
    ///   - cancellation: Cancels requests from another thread.
    public init(
        _ configuration: ClickHouseClient.Configuration, table: String, cluster: String?, parts: Set<SchemaPart>,
        cancellation: HTTPCancellation? = nil
    ) {
        names = SchemaNames(database: configuration.database, table: table, cluster: cluster)
        self.parts = parts
        self.cancellation = cancellation
        // This database always exists, and every user may name it.
        var configuration = configuration
        configuration.database = "system"
        self.configuration = configuration
    }

    /// Returns what ClickHouse lacks. Blocks the thread; throws ``ClickHouseError``.
    public func plan() throws(ClickHouseError) -> MigrationPlan {
        let installed = try InstalledSchema.load(
            names, viewQuery: MigrationPlan.viewQuery(names),
            of: ClickHouseClient(configuration, cancellation: cancellation))
        return MigrationPlan(installed, names, parts: parts, endpoints: configuration.endpoints.count)
    }

    /// Whether statements wait for all servers of a cluster, of which one may be away.
    public var isOnCluster: Bool { names.cluster != nil }

    /// The settings of statements.
    private var settings: [(name: String, value: String)] {
        // ON CLUSTER responds with a row for each server and, last, with an exception, which would come after the status.
        var settings = [(name: "wait_end_of_query", value: "1")]
        if isOnCluster {
            // Otherwise the request would time out first, and be repeated.
            let seconds = max(1, configuration.timeoutMilliseconds / 2_000)
            settings += [
                (name: "distributed_ddl_task_timeout", value: "\(seconds)"),
                (name: "distributed_ddl_output_mode", value: "throw"),
            ]
        }
        return settings
    }

    /// Applies a step. Blocks the thread; throws ``MigrationError``.
    public func apply(_ step: MigrationPlan.Step) throws(MigrationError) {
        let client = ClickHouseClient(configuration, cancellation: cancellation)
        for statement in step.sql {
            do throws(ClickHouseError) {
                _ = try client.query(statement, settings: settings)
            } catch {
                throw MigrationError(step: step.name, statement: statement, cause: error)
            }
        }
    }
}

/// The reason for which a step of a migration failed.
public struct MigrationError: Error, Equatable, CustomStringConvertible {
    /// The step's name.
    public let step: String
    /// The statement that failed.
    public let statement: String
    /// ClickHouse's error.
    public let cause: ClickHouseError

    /// The statement, the cause and what to do.
    public var description: String {
        let start = statement.prefix(80).prefix { !$0.isNewline }
        return """
            \(step): cannot run '\(start)…': \(cause). Steps before this one remain applied; run the migration again to \
            continue
            """
    }
}
