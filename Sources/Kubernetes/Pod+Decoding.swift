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
        ) { metadata, message throws(MalformedObject.Problem) in
            try Pod(metadata, message, labels)
        } bare: { identity in
            Pod(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, node: "", addresses: [])
        }
    }
}

extension Pod {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Pod, _ reader: PodLabelReader
    ) throws(MalformedObject.Problem) {
        let spec = message.spec?.pointee
        let status = message.status?.pointee
        let phase = try String(status?.phase, field: "status.phase")
        let started = UInt32(status?.start_time)
        let labels = try reader.read(metadata)
        self.init(
            uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace, name: try metadata.checkedName,
            node: try String(spec?.node_name, field: "spec.nodeName"),
            addresses: status.map(Self.addresses) ?? [],
            hostNetwork: spec.map { $0.host_network != 0 } ?? false,
            isTerminated: phase == "Succeeded" || phase == "Failed",
            startedAt: started > 0 ? started : UInt32(metadata.creation_timestamp),
            app: labels.app, instanceID: labels.instanceID, cell: labels.cell,
            owner: try metadata.controller, labels: labels.kept)
    }

    /// `podIPs`, or `podIP` of a server that does not know those.
    private static func addresses(_ status: Kubenetmon__Kubernetes__PodStatus) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<status.n_pod_ips {
            if let address = IPAddress(cString: status.pod_ips[index]?.pointee.ip) { addresses.append(address) }
        }
        if addresses.isEmpty, let address = IPAddress(cString: status.pod_ip) { addresses.append(address) }
        return addresses
    }
}
