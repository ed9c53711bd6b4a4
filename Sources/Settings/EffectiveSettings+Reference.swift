// SPDX-License-Identifier: Apache-2.0

extension EffectiveSettings {
    /// Returns the settings as `--help` lists them, wrapped at `columns` columns.
    ///
    /// - Parameter hasFile: Whether the daemon has a configuration file.
    public func help(columns: Int = 70, hasFile: Bool) -> String {
        settings.map { setting in
            let name = hasFile ? "\(setting.key), \(setting.variables[0])" : setting.variables[0]
            let names = Self.wrap("\(setting.flags[0]) [\(name)]", columns - 4)
            let body =
                names.dropFirst() + Self.wrap(setting.help, columns - 4)
                + Self.wrap("(\(setting.allowed); \(setting.defaultSentence))", columns - 4)
            return (names.prefix(1) + body.map { "    " + $0 }).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Returns the settings as a Markdown table.
    ///
    /// - Parameter hasFile: Whether the daemon has a configuration file.
    public func markdown(hasFile: Bool) -> String {
        let header =
            hasFile
            ? ["| key | flag | environment variable | value | default | what it does |", "|---|---|---|---|---|---|"]
            : ["| environment variable | flag | value | default | what it does |", "|---|---|---|---|---|"]
        let rows = settings.map { setting in
            let names =
                hasFile ? [setting.keys, setting.flags, setting.variables] : [setting.variables, setting.flags]
            let cells =
                names.map { $0.map(Self.code).joined(separator: ", ") } + [
                    Self.escape(setting.allowed),
                    setting.defaultText.map { $0.isEmpty ? "–" : Self.code($0) }
                        ?? "required",
                    Self.escape(setting.help) + (setting.isReloadable ? " *Reloaded.*" : "")
                        + (setting.isSecret ? " *Secret.*" : ""),
                ]
            return "| \(cells.joined(separator: " | ")) |"
        }
        return (header + rows).joined(separator: "\n")
    }

    private static func code(_ text: String) -> String { "`\(text)`" }

    private static func escape(_ text: String) -> String { text.replacing("|", with: "\\|") }

    private static func wrap(_ text: String, _ columns: Int) -> [String] {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= columns {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}

extension Setting {
    fileprivate var defaultSentence: String {
        switch defaultText {
        case nil: "required"
        case "": "unset by default"
        case let text?: "default \(text)"
        }
    }
}
