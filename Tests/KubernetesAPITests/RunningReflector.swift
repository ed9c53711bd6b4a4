// SPDX-License-Identifier: Apache-2.0

import Foundation
import KubernetesAPI
import KubernetesTestKit
import Logging
import Synchronization
import TestSupport

@testable import Retry

/// A running reflector with its store and its log; it stops with the object.
final class RunningReflector<Object: FixtureObject & Equatable>: Sendable {
    let store = RecordingStore<Object>()
    let log = RecordingLog()
    private let reflector: Reflector<Object>
    private let end = End()

    private final class End: Sendable {
        let hasCome = Mutex(false)
    }

    init(
        _ resource: KubernetesResource<Object>, of cluster: ClusterConfiguration,
        _ configure: (inout Reflector<Object>.Configuration) -> Void = { _ in }
    ) {
        var configuration = Reflector<Object>.Configuration()
        configuration.backoff = Backoff(initial: .milliseconds(20), maximum: .milliseconds(200))
        configuration.forbiddenDelay = .milliseconds(400)
        configure(&configuration)
        reflector = Reflector(resource, of: cluster, store: store, configuration: configuration, logger: log.logger)
        Thread.detachNewThread { [reflector, end] in
            reflector.run()
            end.hasCome.withLock { $0 = true }
        }
    }

    deinit { reflector.stop() }

    var statistics: ReflectorStatistics { reflector.statistics }

    var isRunning: Bool { end.hasCome.withLock { !$0 } }

    /// Waits until the reflector is synced.
    func synced() async throws { try await eventually("the reflector is synced") { self.statistics.isSynced } }

    /// Waits until the reflector is synced and the server has its watch.
    func watches(_ server: APIServerFixture) async throws {
        try await eventually("the reflector watches") { self.statistics.isSynced && server.openWatches == 1 }
    }

    /// Waits until the store holds these objects and no others.
    func holds(_ keys: Set<String>) async throws {
        try await eventually("the store holds \(keys.sorted())") { self.store.keys == keys }
    }

    /// Stops the reflector and waits for its end.
    func stop() async throws {
        reflector.stop()
        try await eventually("the reflector has ended") { !self.isRunning }
    }
}

/// Records a logger's lines with their metadata.
final class RecordingLog: Sendable {
    private let recorded = Mutex<[String]>([])

    var lines: [String] { recorded.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordingLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.recorded.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])") }
        }
    }
}
