// SPDX-License-Identifier: Apache-2.0

/// A ReplicaSet's metadata: the link between a Deployment and its pods.
public struct ReplicaSet: Hashable, Sendable {
    /// The UID in the owner references of its pods.
    public var uid: ObjectUID
    /// The ReplicaSet's controller, usually a Deployment; nil without one.
    public var owner: ObjectOwner?

    /// Makes a ReplicaSet from its parts.
    public init(uid: ObjectUID, owner: ObjectOwner? = nil) {
        self.uid = uid
        self.owner = owner
    }
}
