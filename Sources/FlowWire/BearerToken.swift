// SPDX-License-Identifier: Apache-2.0

/// A secret that proves who somebody is. It prints as nothing.
public struct BearerToken: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    /// The secret itself.
    public let secret: String

    /// Wraps a secret.
    public init(_ secret: String) { self.secret = secret }

    /// Always the same: a token belongs into no log.
    public var description: String { "(a token)" }

    /// As ``description``.
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// Whether two tokens are the same. How long it takes depends on their lengths alone.
    public func isEqualInConstantTime(to other: BearerToken) -> Bool {
        let (left, right) = (Array(secret.utf8), Array(other.secret.utf8))
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
