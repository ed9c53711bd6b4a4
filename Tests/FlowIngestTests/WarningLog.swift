// SPDX-License-Identifier: Apache-2.0

import Logging
import Synchronization

/// Keeps the warnings as lines, with the fields `node`, `clock` and `not_logged`.
struct WarningLog: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    init(_ lines: Lines) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = (event.metadata ?? [:]).filter { ["node", "clock", "not_logged"].contains($0.key) }
        let words = fields.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        lines.all.withLock { $0.append(([event.message.description] + words).joined(separator: " ")) }
    }
}
