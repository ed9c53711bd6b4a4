// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import Logging
import Synchronization

/// The log of all of a daemon's loggers, with one level for all; repeated lines are suppressed.
public final class DaemonLog: Sendable {
    private let isJSON: Bool
    private let state: Mutex<(level: Logger.Level, repeats: LogRepeats)>
    private let now: @Sendable () -> Duration
    private let uptime: @Sendable () -> ContinuousClock.Instant
    private let write: @Sendable (String) -> Void

    /// Makes a log that writes to standard error.
    public convenience init(_ configuration: LogConfiguration) {
        self.init(
            level: configuration.level, isJSON: configuration.format.isJSON, now: WallClock.now,
            write: StandardError.write)
    }

    /// - Parameters:
    ///   - level: The least severe level that is logged.
    ///   - isJSON: Whether lines are JSON objects.
    ///   - now: The time that lines carry, since the Unix epoch.
    ///   - uptime: The time that limits repetitions, which is not set back.
    ///   - write: Writes a line.
    init(
        level: Logger.Level, isJSON: Bool, now: @escaping @Sendable () -> Duration,
        uptime: @escaping @Sendable () -> ContinuousClock.Instant = { .now },
        write: @escaping @Sendable (String) -> Void
    ) {
        self.isJSON = isJSON
        self.now = now
        self.uptime = uptime
        self.write = write
        state = Mutex((level, LogRepeats()))
    }

    /// The least severe level that is logged; a change also applies to existing loggers.
    public var level: Logger.Level {
        get { state.withLock { $0.level } }
        set { state.withLock { $0.level = newValue } }
    }

    /// Makes a logger that writes to this log.
    public func makeLogger(_ label: String) -> Logger {
        Logger(label: label) { DaemonLogHandler(log: self, label: $0) }
    }

    fileprivate func write(_ line: LogLine) {
        let (now, uptime) = (now(), uptime())
        // Written under the lock, so that lines stay whole and in order.
        state.withLock { state in
            for due in state.repeats.admit(line, at: uptime) { write(isJSON ? due.json(at: now) : due.text(at: now)) }
        }
    }
}

/// The handler that connects a logger to a ``DaemonLog``.
struct DaemonLogHandler: LogHandler {
    fileprivate let log: DaemonLog
    fileprivate let label: String
    private var ownLevel: Logger.Level?
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    fileprivate init(log: DaemonLog, label: String) {
        self.log = log
        self.label = label
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? log.level }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        log.write(
            LogLine(
                level: event.level, label: label, message: event.message.description,
                metadata: all.map { LogLine.Field(name: $0.key, value: $0.value.description) }
                    .sorted { $0.name < $1.name }))
    }
}
