// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import Logging
import Migrations

/// Brings ClickHouse's schema up to date when the server starts, or names what it lacks.
struct SchemaUpdate {
    private let migration: SchemaMigration
    private let logger: Logger

    init(_ migration: SchemaMigration, logger: Logger) {
        self.migration = migration
        self.logger = logger
    }

    /// Adds what is missing. A statement that ClickHouse rejects, or that a server of a cluster does not carry out in time,
    /// is logged, since the server may work without it; throws ``ClickHouseError`` if ClickHouse cannot be reached.
    func apply() throws(ClickHouseError) {
        let plan = try migration.plan()
        for obstacle in plan.obstacles { logger.notice("\(obstacle)") }
        for step in plan.steps {
            do throws(MigrationError) {
                try migration.apply(step)
                logger.notice("updated the schema", metadata: ["file": "\(step.name)", "change": "\(step.purpose)"])
            } catch {
                let isRejected = if case .exception = error.cause { true } else { false }
                guard isRejected || migration.isOnCluster else { throw error.cause }
                logger.log(
                    level: step.isOptional ? .notice : .error, "cannot update the schema",
                    metadata: [
                        "file": "\(step.name)", "error": "\(error.cause)",
                        "remedy": """
                        give the user of clickhouse_credentials_directory the right, run kubenetmon-server migrate as \
                        another user, or leave the part out of clickhouse_schema; the next start tries again
                        """,
                    ])
                guard step.isOptional else { return }
            }
        }
    }

    /// Logs what the schema lacks and what does not work without it.
    func report() {
        // A user that may insert and not read system tables learns from the other warnings what that costs.
        guard let plan = try? migration.plan() else { return }
        for step in plan.steps {
            guard let cost = step.cost else { continue }
            logger.notice(
                "the schema lacks something that this release can use",
                metadata: [
                    "file": "\(step.name)", "consequence": "\(cost)",
                    "remedy": "run kubenetmon-server migrate, or set clickhouse_migrate: auto",
                ])
        }
        for obstacle in plan.obstacles { logger.notice("\(obstacle)") }
    }
}
