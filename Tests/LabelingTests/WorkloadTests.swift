// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Testing

@testable import Labeling

@Suite struct WorkloadTests {
    @Test(
        "the workload of a pod is derived from its owner's kind and name",
        arguments: [
            ("StatefulSet", "db", "StatefulSet/db"), ("DaemonSet", "cni", "DaemonSet/cni"),
            ("ReplicaSet", "web-7d4b9c6f5", "Deployment/web"),
            ("ReplicaSet", "web-front-5d59d67564", "Deployment/web-front"),
            ("ReplicaSet", "alone", "ReplicaSet/alone"), ("ReplicaSet", "web-canary", "ReplicaSet/web-canary"),
            ("ReplicaSet", "-7d4b9c6f5", "ReplicaSet/-7d4b9c6f5"),
            ("Job", "backup-29384756", "CronJob/backup"), ("Job", "backup", "Job/backup"),
            ("Job", "backup-2938475x", "Job/backup-2938475x"), ("Job", "import-7", "Job/import-7"),
            ("Job", "import-20240115", "Job/import-20240115"),
        ])
    func whatStandsBetweenIsSeenThrough(kind: String, name: String, expected: String) {
        let owner = ObjectOwner(kind: kind, name: name, uid: ObjectUID(name))
        #expect(Workload.name(of: owner) { _ in nil } == expected)
    }

    @Test("the owner of a ReplicaSet wins over the ReplicaSet's name")
    func whatTheReplicaSetSaysCountsMoreThanItsName() {
        let owner = ObjectOwner(kind: "ReplicaSet", name: "web-7d4b9c6f5", uid: ObjectUID("a"))
        let rollout = ObjectOwner(kind: "Rollout", name: "web", uid: ObjectUID("b"))
        #expect(Workload.name(of: owner) { _ in .some(rollout) } == "Rollout/web")
        #expect(Workload.name(of: owner) { _ in .some(nil) } == "ReplicaSet/web-7d4b9c6f5")
        #expect(Workload.name(of: nil) { _ in nil } == "")
    }
}
