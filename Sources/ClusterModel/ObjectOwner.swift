// SPDX-License-Identifier: Apache-2.0

/// The controller of an object (`metadata.ownerReferences`, the one with `controller: true`).
public struct ObjectOwner: Hashable, Sendable {
    /// Its kind, such as `ReplicaSet`.
    public var kind: String
    /// Its name; it lives in the object's namespace.
    public var name: String
    /// What tells it apart from an earlier one of the same name.
    public var uid: ObjectUID

    /// Makes an owner of its parts.
    public init(kind: String, name: String, uid: ObjectUID) {
        self.kind = kind
        self.name = name
        self.uid = uid
    }
}
