// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import Logging
import Synchronization
import TestSupport

@testable import ClickHouse
@testable import Retry

/// An inserter for a test, with its settlements and warnings.
final class InserterUnderTest: Sendable {
    let inserter: Inserter
    private let log = Log()

    private final class Log: Sendable {
        let pressure = Mutex<[Bool]>([])
        let completed = Mutex<[Int]>([])
        let void = Mutex<[Int]>([])
        let warnings = Mutex<[String]>([])
    }

    /// Records log lines of the level `warning` and above.
    private struct Handler: LogHandler {
        let log: Log
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.warning

        init(_ log: Log) { self.log = log }

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            log.warnings.withLock { $0.append(([event.message.description] + fields).joined(separator: " ")) }
        }
    }

    /// Makes an inserter with short delays; `change` may change its configuration.
    init(
        _ client: ClickHouseClient.Configuration, workers: Int = 1,
        deduplication: TableSchema.Deduplication = .plain(window: 10_000),
        columns: [FlowColumn] = FlowColumn.original, hidden: [TableSchema.Question] = [],
        maximumBytes: Int = .max,
        _ change: (inout Inserter.Configuration) -> Void = { _ in }
    ) throws {
        var configuration = Inserter.Configuration(client: client, workers: workers)
        configuration.backoff = Backoff(initial: .milliseconds(20), maximum: .milliseconds(200))
        configuration.slowBackoff = configuration.backoff
        change(&configuration)
        let log = log
        let ledger = BlockLedger(maximumBytes: maximumBytes)
        ledger.addPressureHandler { isHigh in log.pressure.withLock { $0.append(isHigh) } }
        inserter = Inserter(
            configuration: configuration,
            schema: try TableSchema(
                table: "network_flows_0", columnNames: columns.map(\.name), deduplication: deduplication,
                serverVersion: "26.9.2.1", hidden: hidden),
            logger: Logger(label: "test") { _ in Handler(log) },
            account: ledger.openAccount())
    }

    var pressure: [Bool] { log.pressure.withLock { $0 } }
    /// The counts of the inserter's account.
    var blocks: SinkStatistics { inserter.account.statistics }
    /// The numbers of settled blocks, once for each settlement.
    var completed: [Int] { log.completed.withLock { $0 }.sorted() }

    /// The numbers of the blocks that were settled as void.
    var void: [Int] { log.void.withLock { $0 }.sorted() }

    /// The warnings and errors logged, with their metadata.
    var warnings: [String] { log.warnings.withLock { $0 } }

    func submit(_ number: Int, _ block: FlowBlock, isAtRisk: @escaping @Sendable () -> Bool = { false }) {
        inserter.submit(block, isAtRisk: isAtRisk) { [log] settlement in
            if settlement.isVoid { log.void.withLock { $0.append(number) } }
            log.completed.withLock { $0.append(number) }
        }
    }

    /// Submits a block of `flows` flows, each of two rows and from a pod of its own.
    func submit(_ number: Int, flows: Int = 1) {
        submit(number, flowBlock((0..<flows).map { labeledFlow(podLabels("\(number)-\($0)")) }))
    }
}

extension RawHTTPServer {
    /// The inserts received, without queries.
    var inserts: [Request] { requests.filter { $0.parameter("insert_deduplication_token") != nil } }
}
