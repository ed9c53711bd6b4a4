// SPDX-License-Identifier: Apache-2.0

/// The controller of an object (`metadata.ownerReferences`, the one with `controller: true`).
public struct ObjectOwner: Hashable, Sendable {
    /// The controller's kind, such as `ReplicaSet`.
    public var kind: String
    /// The controller's name, in the object's namespace.
    public var name: String
    /// The controller's identity, distinct from that of an earlier one of the same name.
    public var uid: ObjectUID

    /// Makes an owner from its parts.
    public init(kind: String, name: String, uid: ObjectUID) {
        self.kind = kind
        self.name = name
        self.uid = uid
    }
}
