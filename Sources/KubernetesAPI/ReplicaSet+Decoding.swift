// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
public import ClusterModel

extension Kubenetmon__Kubernetes__PartialObjectMetadata: ObjectMessage {}

extension KubernetesResource where Object == ReplicaSet {
    /// The resource of all ReplicaSets, with their metadata alone.
    public static var replicaSets: KubernetesResource {
        KubernetesResource(
            name: "replicasets", path: "/apis/apps/v1/replicasets", asPartialMetadata: true,
            unpack: kubenetmon__kubernetes__partial_object_metadata__unpack
        ) { metadata, _, _ throws(MalformedObject.Problem) in
            _ = try metadata.checkedName
            guard let uid = try metadata.checkedUID else { throw .missing(field: "metadata.uid") }
            return ReplicaSet(uid: uid, owner: try metadata.controller)
        } bare: { identity in
            identity.uid.map { ReplicaSet(uid: $0, owner: nil) }
        }
    }
}
