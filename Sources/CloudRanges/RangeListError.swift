// SPDX-License-Identifier: Apache-2.0

/// The reason that a document is rejected as a provider's list.
package enum RangeListError: Error, Equatable, Sendable {
    /// The document is not JSON, or is truncated.
    case notJSON(detail: String)
    /// The document is JSON, but not this list.
    case notTheList(expected: String, detail: String)
    /// The document contains no prefix.
    case noPrefixes
    /// More entries are unreadable than readable: the format is a different one.
    case mostlyUnreadable(skipped: Int, read: Int)
}

extension RangeListError: CustomStringConvertible {
    /// The error for a log.
    package var description: String {
        switch self {
        case .notJSON(let detail): "not JSON: \(detail)"
        case .notTheList(let expected, let detail): "not the expected list (\(expected)): \(detail)"
        case .noPrefixes: "the list contains no prefixes"
        case .mostlyUnreadable(let skipped, let read):
            "the list has an unknown format: \(skipped) entries are unreadable, only \(read) are readable"
        }
    }
}
