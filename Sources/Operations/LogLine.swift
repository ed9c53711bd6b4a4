// SPDX-License-Identifier: Apache-2.0

import Logging

/// What a line of a log says.
struct LogLine: Hashable, Sendable {
    /// A named value beside the message.
    struct Field: Hashable, Sendable {
        var name: String
        var value: String
    }

    var level: Logger.Level
    var label: String
    var message: String
    /// In the order of their names.
    var metadata: [Field]

    /// The line as a JSON object.
    func json(at time: WallTime) -> String {
        let fields = [("time", "\(time)"), ("level", level.rawValue), ("logger", label), ("message", message)]
        let own = fields.map { "\($0.0.jsonQuoted):\($0.1.jsonQuoted)" }
        let others = metadata.map { "\($0.name.jsonQuoted):\($0.value.jsonQuoted)" }
        return
            "{\((own + (others.isEmpty ? [] : ["\"metadata\":{\(others.joined(separator: ","))}"])).joined(separator: ","))}\n"
    }

    /// The line in words, control characters escaped.
    func text(at time: WallTime) -> String {
        let words = metadata.map { "\($0.name)=\($0.value)" }
        let line = (["\(time)", level.rawValue, "\(label):", message] + words).joined(separator: " ")
        return String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 0x20 ? " " : $0 })) + "\n"
    }
}
