// SPDX-License-Identifier: Apache-2.0

/// A counter of a reader's own, as metrics show it.
public struct ReaderCounter: Sendable {
    /// The metric's name, which ends in `_total`.
    public let name: String
    /// The metric's help text.
    public let help: String
    /// The count since the process began to read.
    public let value: UInt64

    /// Makes a counter of its parts.
    public init(_ name: String, _ help: String, _ value: UInt64) {
        self.name = name
        self.help = help
        self.value = value
    }
}
