// SPDX-License-Identifier: Apache-2.0

/// The reason why a value is rejected. The reader of the document adds the place and the value itself.
public struct BadValue: Error {
    /// The reason, worded to follow the value: "is not a colour" becomes "'blu' is not a colour".
    public let reason: String

    /// Makes an error from a reason that is worded to follow the value.
    public init(_ reason: String) {
        self.reason = reason
    }
}
