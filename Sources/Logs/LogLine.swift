// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Logging
import TextFormats

/// The content of a log line.
struct LogLine: Hashable, Sendable {
    /// A named value beside the message.
    struct Field: Hashable, Sendable {
        var name: String
        var value: String
    }

    var level: Logger.Level
    var label: String
    var message: String
    /// Sorted by name.
    var metadata: [Field]

    /// Returns the line as a JSON object.
    func json(at time: Duration) -> String {
        let fields = [
            ("time", WallClock.text(of: time)), ("level", level.rawValue), ("logger", label), ("message", message),
        ]
        let own = fields.map { "\($0.0.jsonQuoted):\($0.1.jsonQuoted)" }
        let others = metadata.map { "\($0.name.jsonQuoted):\($0.value.jsonQuoted)" }
        return
            "{\((own + (others.isEmpty ? [] : ["\"metadata\":{\(others.joined(separator: ","))}"])).joined(separator: ","))}\n"
    }

    /// Returns the line as text, with control characters replaced by spaces.
    func text(at time: Duration) -> String {
        let words = metadata.map { "\($0.name)=\($0.value)" }
        let line = ([WallClock.text(of: time), level.rawValue, "\(label):", message] + words).joined(separator: " ")
        return String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 0x20 ? " " : $0 })) + "\n"
    }
}
