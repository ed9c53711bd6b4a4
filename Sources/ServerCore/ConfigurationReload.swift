// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
package import Logging
import ServiceLifecycle
package import Settings
import Synchronization
import UnixSignals

/// Reads the configuration again when its file changes and at SIGHUP, and applies the settings that a running server
/// can change.
///
/// A file with problems changes nothing. A changed setting that needs a restart is logged and not applied.
package final class ConfigurationReload: Service, CustomStringConvertible {
    /// The outcome of reloads, with the values that Prometheus' own servers export.
    package struct Statistics: Equatable, Sendable {
        /// Whether the last read of the file succeeded.
        var isSuccessful = true
        /// The time of the last successful read, in seconds since 1970.
        var lastSuccess = Int(WallClock.seconds())

        /// Makes the statistics of a file that was just read.
        package init() {}
    }

    package let description = "configuration"

    /// The time between two checks of the file. A ConfigMap's file takes about a minute to follow the ConfigMap.
    ///
    /// inotify(7) does not replace the check: it watches inodes, whereas the file is found through links that change,
    /// and it does not report changes that another machine makes on a network file system.
    private static let interval = Duration.seconds(2)

    private let file: ConfigurationFile
    /// The settings at start.
    private let started: EffectiveSettings
    private let logger: Logger
    private let apply: @Sendable (ServerConfiguration) -> Void
    private let state: Mutex<(current: EffectiveSettings, version: FileVersion?, statistics: Statistics)>

    /// Creates a service that does nothing before it runs.
    ///
    /// - Parameters:
    ///   - file: The file to read again.
    ///   - settings: The settings at start.
    ///   - logger: Logs changes and problems.
    ///   - apply: Applies the reloadable settings.
    package init(
        _ file: ConfigurationFile, settings: EffectiveSettings, logger: Logger,
        apply: @escaping @Sendable (ServerConfiguration) -> Void
    ) {
        self.file = file
        started = settings
        self.logger = logger
        self.apply = apply
        // Without a known version, the first check finds any change since the file was read.
        state = Mutex((settings, nil, Statistics()))
    }

    var statistics: Statistics { state.withLock { $0.statistics } }

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await _ in signals { self.reload() }
                }
                group.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: Self.interval)
                        self.reloadIfChanged()
                    }
                }
            }
        }
    }

    private func reloadIfChanged() {
        let version = file.path.flatMap(FileVersion.init(of:))
        // A missing file is being replaced.
        guard let version, version != state.withLock({ $0.version }) else { return }
        reload()
    }

    /// Reads the file and applies what has changed.
    func reload() {
        state.withLock { state in
            state.version = file.path.flatMap(FileVersion.init(of:))
            do throws(SettingsProblems) {
                let (configuration, settings) = try file.read(isReload: true)
                state.statistics = Statistics()
                let changes = state.current.changes(to: settings)
                guard !changes.isEmpty else { return }
                tell(changes, settings)
                state.current = settings
                apply(configuration)
            } catch {
                state.statistics.isSuccessful = false
                logger.error(
                    "cannot reload the configuration; the previous one stays in effect",
                    metadata: ["problems": "\(error.lines.joined(separator: "; "))"])
            }
        }
    }

    private func tell(_ changes: [EffectiveSettings.Change], _ settings: EffectiveSettings) {
        for change in changes where change.new.isReloadable {
            logger.notice("setting changed", metadata: ["setting": "\(change)"])
        }
        let changed = Set(changes.map(\.new.key))
        for change in started.changes(to: settings) where !change.new.isReloadable && changed.contains(change.new.key) {
            logger.warning("changed setting takes effect only after a restart", metadata: ["setting": "\(change)"])
        }
        for warning in settings.warnings where !started.warnings.contains(warning) { logger.warning("\(warning)") }
    }
}

/// The identity of a file's version. A new version of a ConfigMap is another file behind the same path.
package struct FileVersion: Equatable, Sendable {
    private let parts: [Int]

    /// Returns nil if there is no such file, or if it is not a regular one and can thus be read only once.
    package init?(of path: String) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        parts = [
            Int(bitPattern: UInt(status.st_dev)), Int(bitPattern: UInt(status.st_ino)), Int(status.st_size),
            status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec,
        ]
    }
}
