// SPDX-License-Identifier: Apache-2.0

import ClusterModel

/// The ReplicaSets of one cluster, and the pods whose workload depends on one that is not known yet.
struct ReplicaSets: Sendable {
    /// Maximum number of ReplicaSets waited for: some may never be reported.
    private static let maximumWaiting = 10_000

    /// Whether a store reports ReplicaSets.
    var isWatched = false
    private var owners: [ObjectUID: ObjectOwner?] = [:]
    /// Pods that were added before their ReplicaSet, by ReplicaSet.
    private var waiting: [ObjectUID: [ObjectUID: ObjectOwner]] = [:]

    /// The number of known ReplicaSets.
    var count: Int { owners.count }

    /// The owner of a ReplicaSet; nil for an unknown ReplicaSet.
    subscript(uid: ObjectUID) -> ObjectOwner?? { owners[uid] }

    /// Records that a pod's controller is not known yet, if it is a ReplicaSet that may still be reported.
    mutating func keepWaiting(_ pod: ObjectUID, for controller: ObjectOwner?) {
        guard isWatched, let controller, controller.kind == "ReplicaSet", owners[controller.uid] == nil else { return }
        if waiting.count >= Self.maximumWaiting { waiting = [:] }
        waiting[controller.uid, default: [:]][pod] = controller
    }

    /// Records a ReplicaSet's owner, and returns whether pods wait for it.
    mutating func insert(_ replicaSet: ReplicaSet) -> Bool {
        owners[replicaSet.uid] = .some(replicaSet.owner)
        return waiting[replicaSet.uid] != nil
    }

    /// Forgets a ReplicaSet; its pods keep their labels.
    mutating func remove(_ uid: ObjectUID) {
        owners[uid] = nil
        waiting[uid] = nil
    }

    /// Forgets all ReplicaSets but these.
    mutating func removeAll(except kept: Set<ObjectUID>) {
        for uid in Array(owners.keys) where !kept.contains(uid) { remove(uid) }
    }

    /// Returns the pods that wait for a ReplicaSet, with their controllers, and forgets that they wait.
    mutating func takeWaiting(for uid: ObjectUID) -> [ObjectUID: ObjectOwner] {
        waiting.removeValue(forKey: uid) ?? [:]
    }
}
