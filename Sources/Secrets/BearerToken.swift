// SPDX-License-Identifier: Apache-2.0

/// A secret that authenticates its sender. Printing a token does not reveal it.
public struct BearerToken: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    /// The secret itself.
    public let secret: String

    /// Wraps a secret.
    public init(_ secret: String) { self.secret = secret }

    /// The same text for every token, so that none appears in a log.
    public var description: String { "(a token)" }

    /// An empty mirror, for the same reason as ``description``.
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Returns whether two tokens are equal. The time that it takes depends on their lengths alone.
    public func isEqualInConstantTime(to other: BearerToken) -> Bool {
        let (left, right) = (Array(secret.utf8), Array(other.secret.utf8))
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
