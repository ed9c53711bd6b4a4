// SPDX-License-Identifier: Apache-2.0

/// The machine lacks something that a test needs. Such a test fails: it is never skipped.
public struct TestEnvironmentError: Error, CustomStringConvertible {
    /// The missing thing and the remedy.
    public let description: String

    /// Makes an error from a description of the missing thing and the remedy.
    public init(_ description: String) { self.description = description }
}
