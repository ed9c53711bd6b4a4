// SPDX-License-Identifier: Apache-2.0

/// The machine lacks what a test needs. Such a test fails: it is never skipped.
public struct TestEnvironmentError: Error, CustomStringConvertible {
    /// What is missing and what to do.
    public let description: String

    /// Makes an error of what is missing and what to do.
    public init(_ description: String) { self.description = description }
}
