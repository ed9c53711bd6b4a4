// SPDX-License-Identifier: Apache-2.0

extension String {
    /// The text in quotes, safe to print: on one line, without control characters, and cut after 80 characters.
    package var quoted: String {
        let text = unicodeScalars.prefix(80).map { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: scalar.escaped(asASCII: true)
            default: String(scalar)
            }
        }
        return "'\(text.joined())\(unicodeScalars.count > 80 ? "…" : "")'"
    }
}
