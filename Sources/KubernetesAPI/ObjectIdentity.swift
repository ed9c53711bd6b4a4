// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// What tells an object apart from others of its kind, which is all that has to be known of one that is gone.
struct ObjectIdentity {
    /// Nil where it is missing or cannot be read; namespace and name tell the object apart then.
    let uid: ObjectUID?
    /// Empty for a node, and where it cannot be read.
    let namespace: String
    /// Empty where it is missing or cannot be read.
    let name: String

    /// Whether there is anything to tell the object apart by.
    var isKnown: Bool { uid != nil || !name.isEmpty }
}
