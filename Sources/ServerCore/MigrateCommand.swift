// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import FoundationEssentials
import Migrations
import Settings

/// Creates and updates the schema in ClickHouse.
package struct MigrateCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Create the server's database and tables in ClickHouse, or bring them up to date.",
        discussion: """
            Compares what ClickHouse has with deploy/clickhouse and adds what is missing: the database, the table, its \
            columns and its deduplication window, the hourly rollup and the roles. It never drops or rewrites rows, and \
            can be run again at any time, also while servers run. The settings are the server's; \
            --clickhouse-schema says which parts are made, --clickhouse-cluster runs the statements ON CLUSTER. The user \
            needs the rights to create and change tables: --credentials names another directory with the files username \
            and password.

            The exit code is 0 if the schema is up to date, 1 if a statement failed or something cannot be added, and \
            64 if settings are invalid.
            """)

    @Option(name: .customLong("config"), help: "Configuration file of the server (YAML).")
    var configurationFile: String?
    @Flag(help: "Print the statements that would run, and run none.")
    var dryRun = false
    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp("Settings of the server, each written --name value.", valueName: "settings"))
    var settings: [String] = []

    /// Makes a command without arguments.
    package init() {}

    package func run() throws {
        let file = ConfigurationFile(
            path: configurationFile, arguments: settings, environment: ProcessInfo.processInfo.environment)
        let migration: SchemaMigration
        do { migration = try file.read().value.migration() } catch { throw ValidationError("\(error)") }
        let plan = try migration.plan()
        if dryRun { Self.printStatements(of: plan) } else { try Self.apply(plan, migration) }
        guard plan.obstacles.isEmpty else { throw IncompleteSchema(obstacles: plan.obstacles) }
        if !dryRun || plan.steps.isEmpty { print("\(dryRun ? "-- " : "")the schema is up to date") }
    }

    private static func printStatements(of plan: MigrationPlan) {
        for step in plan.steps {
            print("-- \(step.name): \(step.purpose)")
            for statement in step.sql { print("\(statement);\n") }
        }
    }

    private static func apply(_ plan: MigrationPlan, _ migration: SchemaMigration) throws(MigrationError) {
        for step in plan.steps {
            do throws(MigrationError) {
                try migration.apply(step)
                print("\(step.name): \(step.purpose)")
            } catch {
                guard step.isOptional, case .exception = error.cause else { throw error }
                print("\(step.name): left out: \(error.cause); create it by hand, or leave it out of clickhouse_schema")
            }
        }
    }

    /// What a migration could not add.
    private struct IncompleteSchema: Error, CustomStringConvertible {
        let obstacles: [String]

        var description: String { obstacles.joined(separator: "\n") }
    }
}
