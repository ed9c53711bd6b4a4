// SPDX-License-Identifier: Apache-2.0

/// A piece of HTML. What is written in a literal is markup; whatever text is put into it is escaped, so that a name from
/// elsewhere is shown as it is and never becomes markup: `let cell: HTML = "<td title=\"\(name)\">\(name)</td>"`.
///
/// Attributes must be quoted with double quotes, and must be none that hold scripts, styles or addresses.
public struct HTML: Equatable, Sendable {
    /// The piece as it is sent.
    public private(set) var text: String

    /// The pieces one after another.
    public init(_ pieces: [HTML] = []) { text = pieces.map(\.text).joined() }

    /// Puts a piece behind another.
    public static func += (left: inout HTML, right: HTML) { left.text += right.text }
}

extension HTML: ExpressibleByStringInterpolation {
    /// Makes a piece of the program's own markup.
    public init(stringLiteral markup: String) { text = markup }

    /// Makes a piece of markup and of what is put into it.
    public init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    /// Gathers markup as it is and escapes the rest.
    public struct Interpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        /// Makes an empty piece.
        public init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity) }

        /// Adds markup.
        public mutating func appendLiteral(_ markup: String) { text += markup }

        /// Adds a text, escaped.
        public mutating func appendInterpolation(_ value: String) {
            for scalar in value.unicodeScalars { append(scalar) }
        }

        /// Adds a number.
        public mutating func appendInterpolation(_ value: some BinaryInteger) { text += "\(value)" }

        /// Adds a piece as it is.
        public mutating func appendInterpolation(_ piece: HTML) { text += piece.text }

        /// Adds pieces as they are.
        public mutating func appendInterpolation(_ pieces: [HTML]) { for piece in pieces { text += piece.text } }

        private mutating func append(_ scalar: Unicode.Scalar) {
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            case "'": text += "&#39;"
            case "\n", "\t": text.unicodeScalars.append(scalar)
            default:
                switch scalar.properties.generalCategory {
                // What has no shape of its own may turn what stands around it: a right-to-left override, for one.
                case .control, .format: text += "\u{FFFD}"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }
    }
}
