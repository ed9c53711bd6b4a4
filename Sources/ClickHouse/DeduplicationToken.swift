// SPDX-License-Identifier: Apache-2.0

/// Deduplication tokens of inserts (`insert_deduplication_token`): ClickHouse stores one insert per token.
enum DeduplicationToken {
    /// The lengths of the groups of digits in a UUID's text.
    private static let groups = [8, 4, 4, 4, 12]

    /// Returns a token in the form in which ClickHouse gets it: a UUID in lower case.
    static func text(of token: UInt128) -> String {
        let digits = String(token, radix: 16)
        var rest = (String(repeating: "0", count: 32 - digits.count) + digits)[...]
        return groups.map { length in
            defer { rest = rest.dropFirst(length) }
            return String(rest.prefix(length))
        }.joined(separator: "-")
    }

    /// Returns a random token.
    static func random() -> UInt128 { UInt128.random(in: .min ... .max) }
}
