// SPDX-License-Identifier: Apache-2.0

/// A reader's own counter, as it appears in metrics.
public struct ReaderCounter: Sendable {
    /// The metric's name, which ends in `_total`.
    public let name: String
    /// The metric's help text.
    public let help: String
    /// The count since the process started reading.
    public let value: UInt64

    /// Makes a counter from its parts.
    public init(_ name: String, _ help: String, _ value: UInt64) {
        self.name = name
        self.help = help
        self.value = value
    }
}
