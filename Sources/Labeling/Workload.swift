// SPDX-License-Identifier: Apache-2.0

import ClusterModel

extension Pod {
    /// Whether kubelet has it from a manifest of its own; the API server's copy of it belongs to the node.
    var isStatic: Bool { owner?.kind == "Node" }
}

/// What a pod is one of, as `kind/name`.
enum Workload {
    /// The workload of a pod with this owner, empty where it has none.
    ///
    /// What stands between is seen through: a Deployment's ReplicaSet, a CronJob's Job.
    ///
    /// - Parameter replicaSetOwner: Tells what owns a ReplicaSet, nil where the ReplicaSet is not known.
    static func name(of owner: ObjectOwner?, replicaSetOwner: (ObjectUID) -> ObjectOwner??) -> String {
        guard let owner else { return "" }
        switch owner.kind {
        case "ReplicaSet":
            if let known = replicaSetOwner(owner.uid) { return known.map(text) ?? text(owner) }
            return deployment(ofReplicaSet: owner.name).map { "Deployment/\($0)" } ?? text(owner)
        case "Job":
            return cronJob(ofJob: owner.name).map { "CronJob/\($0)" } ?? text(owner)
        default:
            return text(owner)
        }
    }

    /// The component that a static pod is one of: kubelet names the pod `<name in the manifest>-<node>`
    /// (https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/).
    static func name(ofStatic pod: Pod) -> String {
        let suffix = "-\(pod.node)"
        return "StaticPod/\(pod.name.hasSuffix(suffix) ? String(pod.name.dropLast(suffix.count)) : pod.name)"
    }

    private static func text(_ owner: ObjectOwner) -> String { "\(owner.kind)/\(owner.name)" }

    /// A Deployment names its ReplicaSets `<deployment>-<hash>`, the hash in the letters of `SafeEncodeString`
    /// (k8s.io/apimachinery/pkg/util/rand), ten of them at most.
    private static func deployment(ofReplicaSet name: String) -> String? {
        let letters: Set<Character> = Set("bcdfghjklmnpqrstvwxz2456789")
        return stem(of: name) { (5...10).contains($0.count) && $0.allSatisfy(letters.contains) }
    }

    /// A CronJob names its Jobs `<cronjob>-<scheduled minute since the Unix epoch>`
    /// (pkg/controller/cronjob/utils.go, `getJobName`). These are the minutes from 2017 to 2046, and no dates such as
    /// 20240115.
    private static func cronJob(ofJob name: String) -> String? {
        stem(of: name) { (25_000_000...40_000_000).contains(Int($0) ?? 0) }
    }

    private static func stem(of name: String, where isSuffix: (Substring) -> Bool) -> String? {
        guard let hyphen = name.lastIndex(of: "-"), hyphen > name.startIndex,
            isSuffix(name[name.index(after: hyphen)...])
        else { return nil }
        return String(name[..<hyphen])
    }
}
