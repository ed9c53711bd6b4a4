// SPDX-License-Identifier: Apache-2.0

/// Why a document is not taken for a provider's list.
package enum RangeListError: Error, Equatable, Sendable {
    /// It is not JSON, or it ends too early.
    case notJSON(detail: String)
    /// It is JSON, but not this list.
    case notTheList(expected: String, detail: String)
    /// There is not one block of addresses in it.
    case noPrefixes
    /// More of its entries are unreadable than readable: the format is another one.
    case mostlyUnreadable(skipped: Int, read: Int)
}

extension RangeListError: CustomStringConvertible {
    /// The error for a log.
    package var description: String {
        switch self {
        case .notJSON(let detail): "not JSON: \(detail)"
        case .notTheList(let expected, let detail): "not the expected list (\(expected)): \(detail)"
        case .noPrefixes: "the list holds no prefixes"
        case .mostlyUnreadable(let skipped, let read):
            "the list's format is not the known one: \(skipped) entries are unreadable, only \(read) are not"
        }
    }
}
