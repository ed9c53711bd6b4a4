// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FlowModel

extension Kubenetmon__Kubernetes__Pod: ObjectMessage {}

extension KubernetesResource where Object == Pod {
    /// All pods that have not ended for good, with those of their labels that `labels` asks for.
    public static func pods(labels: PodLabelMapping) -> KubernetesResource {
        let labels = PodLabelReader(labels)
        return KubernetesResource(
            name: "pods", path: "/api/v1/pods", fieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
            unpack: kubenetmon__kubernetes__pod__unpack
        ) { metadata, message, addresses throws(MalformedObject.Problem) in
            try Pod(metadata, message, labels, &addresses)
        } bare: { identity in
            Pod(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, node: "", addresses: [])
        }
    }
}

extension Pod {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Pod, _ reader: PodLabelReader,
        _ addresses: inout AddressReader
    ) throws(MalformedObject.Problem) {
        let spec = message.spec?.pointee
        let status = message.status?.pointee
        let phase = try String(status?.phase, field: "status.phase")
        let started = UInt32(status?.start_time)
        let labels = try reader.read(metadata)
        if let status { Self.read(status, &addresses) }
        self.init(
            uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace, name: try metadata.checkedName,
            node: try String(spec?.node_name, field: "spec.nodeName"),
            addresses: addresses.addresses,
            hostNetwork: spec.map { $0.host_network != 0 } ?? false,
            isTerminated: phase == "Succeeded" || phase == "Failed",
            startedAt: started > 0 ? started : UInt32(metadata.creation_timestamp),
            app: labels.app, instanceID: labels.instanceID, cell: labels.cell,
            owner: try metadata.controller, labels: labels.kept,
            labelSignature: labels.signature)
    }

    /// `podIPs`, or `podIP` of a server that does not know those.
    private static func read(_ status: Kubenetmon__Kubernetes__PodStatus, _ addresses: inout AddressReader) {
        for index in 0..<status.n_pod_ips { addresses.read(status.pod_ips[index]?.pointee.ip) }
        if addresses.addresses.isEmpty { addresses.read(status.pod_ip) }
    }
}
