// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// The identity of an object among others of its kind, which is all that has to be known of a deleted one.
struct ObjectIdentity {
    /// Nil if missing or unreadable; namespace and name identify the object then.
    let uid: ObjectUID?
    /// Empty for a node, or if unreadable.
    let namespace: String
    /// Empty if missing or unreadable.
    let name: String

    /// Whether the object can be identified.
    var isKnown: Bool { uid != nil || !name.isEmpty }
}
