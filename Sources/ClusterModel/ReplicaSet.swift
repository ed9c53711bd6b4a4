// SPDX-License-Identifier: Apache-2.0

/// A ReplicaSet, as far as its metadata tells: it stands between a Deployment and its pods.
public struct ReplicaSet: Hashable, Sendable {
    /// What its pods' owner references name it by.
    public var uid: ObjectUID
    /// What controls it, a Deployment as a rule; nil where nothing does.
    public var owner: ObjectOwner?

    /// Makes a ReplicaSet of its parts.
    public init(uid: ObjectUID, owner: ObjectOwner? = nil) {
        self.uid = uid
        self.owner = owner
    }
}
