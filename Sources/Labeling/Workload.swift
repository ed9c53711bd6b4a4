// SPDX-License-Identifier: Apache-2.0

import ClusterModel

extension Pod {
    /// Whether kubelet runs the pod from a local manifest; the pod's copy in the API server is owned by the node.
    var isStatic: Bool { owner?.kind == "Node" }
}

/// The workload that a pod belongs to, as `kind/name`.
enum Workload {
    /// Returns the workload of a pod with this owner; empty without an owner.
    ///
    /// Intermediate owners are skipped: a Deployment's ReplicaSet, a CronJob's Job.
    ///
    /// - Parameter replicaSetOwner: Returns the owner of a ReplicaSet; nil for an unknown ReplicaSet.
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

    /// Returns the workload of a static pod: kubelet names the pod `<name in the manifest>-<node>`
    /// (https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/).
    static func name(ofStatic pod: Pod) -> String {
        let suffix = "-\(pod.node)"
        return "StaticPod/\(pod.name.hasSuffix(suffix) ? String(pod.name.dropLast(suffix.count)) : pod.name)"
    }

    private static func text(_ owner: ObjectOwner) -> String { "\(owner.kind)/\(owner.name)" }

    /// Returns the Deployment of a ReplicaSet, which is named `<deployment>-<hash>`. The hash has at most ten letters
    /// from the alphabet of `SafeEncodeString` (k8s.io/apimachinery/pkg/util/rand).
    private static func deployment(ofReplicaSet name: String) -> String? {
        let letters: Set<Character> = Set("bcdfghjklmnpqrstvwxz2456789")
        return stem(of: name) { (5...10).contains($0.count) && $0.allSatisfy(letters.contains) }
    }

    /// Returns the CronJob of a Job, which is named `<cronjob>-<scheduled minute since the Unix epoch>`
    /// (pkg/controller/cronjob/utils.go, `getJobName`). The accepted minutes are from 2017 to 2046, which excludes
    /// dates such as 20240115.
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
