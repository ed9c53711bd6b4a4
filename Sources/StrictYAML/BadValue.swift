// SPDX-License-Identifier: Apache-2.0

/// Why a value is refused. The place and the value itself are added by whoever reads the document.
public struct BadValue: Error {
    /// What the value does wrong, to be read after the value: "is not a colour" becomes "'blu' is not a colour".
    public let reason: String

    /// Refuses a value for a reason that reads well after it.
    public init(_ reason: String) {
        self.reason = reason
    }
}
