// SPDX-License-Identifier: Apache-2.0

import ClickHouse
import FlowBlocks
import HTTPClient
import Logging
import Threads

/// Reads the table's columns again and again, so that a server fills columns that a migration adds while it runs.
struct SchemaWatch {
    private let configuration: ServerConfiguration
    private let inserter: Inserter
    private let logger: Logger
    private let interval: Duration

    /// Makes a watch of the table of an inserter.
    init(_ configuration: ServerConfiguration, inserter: Inserter, logger: Logger, interval: Duration) {
        self.configuration = configuration
        self.inserter = inserter
        self.logger = logger
        self.interval = interval
    }

    /// Runs until the task is cancelled.
    func run() async {
        let thread = OwnedThread(name: "columns")
        let cancellation = HTTPCancellation()
        while (try? await Task.sleep(for: interval)) != nil {
            let schema = try? await withTaskCancellationHandler {
                try await thread.run { load(cancellation) }
            } onCancel: {
                cancellation.cancel()
            }
            if let schema = schema ?? nil { adopt(schema) }
        }
    }

    /// Returns the table if its columns have changed; nil also if ClickHouse cannot be queried now, which the inserter
    /// reports.
    private func load(_ cancellation: HTTPCancellation) -> TableSchema? {
        let client = ClickHouseClient(configuration.clickHouse, cancellation: cancellation)
        guard (try? inserter.table.hasChanged(asking: client)) == true else { return nil }
        return try? TableSchema.load(table: configuration.table, of: client)
    }

    private func adopt(_ schema: TableSchema) {
        let added = schema.form.columns.subtracting(inserter.form.columns)
        guard !added.isEmpty, schema.form.columns.isSuperset(of: inserter.form.columns) else { return }
        inserter.adopt(schema)
        logger.notice(
            "the table has new columns, which are filled from now on",
            metadata: ["columns": "\(added.map(\.name).sorted().joined(separator: ", "))"])
    }
}
