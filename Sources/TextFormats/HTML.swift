// SPDX-License-Identifier: Apache-2.0

/// A piece of HTML. String literals are markup; interpolated text is escaped, so that a name from outside is displayed
/// verbatim and never becomes markup: `let cell: HTML = "<td title=\"\(name)\">\(name)</td>"`.
///
/// Attributes must be in double quotes, and must not be attributes that hold scripts, styles or URLs.
public struct HTML: Equatable, Sendable {
    /// The piece's markup, as it is sent.
    public private(set) var text: String

    /// Concatenates pieces.
    public init(_ pieces: [HTML] = []) { text = pieces.map(\.text).joined() }

    /// Appends a piece.
    public static func += (left: inout HTML, right: HTML) { left.text += right.text }
}

extension HTML: ExpressibleByStringInterpolation {
    /// Makes a piece from the program's own markup.
    public init(stringLiteral markup: String) { text = markup }

    /// Makes a piece from markup and interpolated values.
    public init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    /// Collects markup unchanged and escapes the interpolated text.
    public struct Interpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        /// Makes an empty piece.
        public init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity) }

        /// Adds markup.
        public mutating func appendLiteral(_ markup: String) { text += markup }

        /// Adds text, escaped.
        public mutating func appendInterpolation(_ value: String) {
            for scalar in value.unicodeScalars { append(scalar) }
        }

        /// Adds a number.
        public mutating func appendInterpolation(_ value: some BinaryInteger) { text += "\(value)" }

        /// Adds a piece unchanged.
        public mutating func appendInterpolation(_ piece: HTML) { text += piece.text }

        /// Adds pieces unchanged.
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
                // Invisible characters can change how the text around them is displayed, as a right-to-left override
                // does.
                case .control, .format: text += "\u{FFFD}"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }
    }
}
