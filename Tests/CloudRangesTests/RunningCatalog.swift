// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Foundation
import Logging
import Synchronization
import TestSupport

@testable import CloudRanges

/// A catalog running on its own thread, with records of its changes and its log.
final class RunningCatalog: Sendable {
    let catalog: CloudRangeCatalog
    private let updates: Mutexed<[[CloudRange]]>
    private let records: Mutexed<[String]>
    private let ended = Mutexed(false)

    init(_ configuration: CloudRangeCatalog.Configuration, starts: Bool = true) {
        let (updates, records) = (Mutexed<[[CloudRange]]>([]), Mutexed<[String]>([]))
        self.updates = updates
        self.records = records
        catalog = CloudRangeCatalog(
            configuration: configuration, logger: Logger(label: "test") { _ in RecordingLog(records: records) },
            onChange: { ranges in updates.change { $0.append(ranges) } })
        if starts { start() }
    }

    /// Starts the thread; for a catalog made with `starts: false`.
    func start() {
        Thread.detachNewThread { [catalog, ended] in
            catalog.run()
            ended.change { $0 = true }
        }
    }

    /// The ranges after each change, as text.
    var changes: [[String]] { updates.value.map { $0.map(\.line) } }

    /// The present ranges, as text.
    var lines: [String] { changes.last ?? [] }

    /// The log lines: level and message.
    var log: [String] { records.value }

    var hasEnded: Bool { ended.value }

    func source(_ provider: RangeProvider) -> CloudRangeCatalog.SourceStatistics {
        catalog.statistics.sources.first { $0.provider == provider } ?? .init(provider: provider)
    }

    /// Stops the catalog and waits until its thread has ended.
    func stop() async throws {
        catalog.stop()
        try await eventually("the catalog stops") { self.hasEnded }
    }
}

/// A value behind a lock, shared by reference.
final class Mutexed<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>

    init(_ value: Value) { storage = Mutex(value) }

    var value: Value { storage.withLock { $0 } }

    func change(_ body: (inout sending Value) -> Void) { storage.withLock { body(&$0) } }
}

private struct RecordingLog: LogHandler {
    let records: Mutexed<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let text = "\(event.level): \(event.message)"
        records.change { $0.append(text) }
    }
}
