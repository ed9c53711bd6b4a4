// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
public import ClusterModel
import FlowModel
import Glibc

extension Kubenetmon__Kubernetes__Pod: ObjectMessage {}

extension KubernetesResource where Object == Pod {
    /// The resource of all pods that have not ended for good, with the labels in `labels`.
    public static func pods(labels: PodLabelMapping) -> KubernetesResource {
        let labels = PodLabelReader(labels)
        return KubernetesResource(
            name: "pods", path: "/api/v1/pods", fieldSelector: "status.phase!=Succeeded,status.phase!=Failed",
            unpack: kubenetmon__kubernetes__pod__unpack
        ) { metadata, message, reader throws(MalformedObject.Problem) in
            try Pod(metadata, message, labels, &reader)
        } bare: { identity in
            Pod(
                uid: identity.uid, namespace: identity.namespace, name: identity.name, node: "", addresses: [])
        }
    }
}

extension Pod {
    fileprivate init(
        _ metadata: ObjectMeta, _ message: Kubenetmon__Kubernetes__Pod, _ labelReader: PodLabelReader,
        _ reader: inout AddressReader
    ) throws(MalformedObject.Problem) {
        let spec = message.spec?.pointee
        let status = message.status?.pointee
        let phase = try String(status?.phase, field: "status.phase")
        let labels = try labelReader.read(metadata)
        let hostNetwork = spec.map { $0.host_network != 0 } ?? false
        let addresses = status.map { Self.addresses($0, &reader) } ?? []
        let start = status.map(Self.start) ?? 0
        self.init(
            uid: try metadata.checkedUID, namespace: try metadata.checkedNamespace, name: try metadata.checkedName,
            node: try String(spec?.node_name, field: "spec.nodeName"), addresses: addresses,
            secondaryAddresses: hostNetwork ? [] : Self.secondaryAddresses(metadata, besides: addresses, &reader),
            hostAddresses: status.map { Self.hostAddresses($0, &reader) } ?? [], hostNetwork: hostNetwork,
            isTerminated: phase == "Succeeded" || phase == "Failed",
            startedAt: start > 0 ? start : UInt32(metadata.creation_timestamp),
            columnLabels: labels.columns, owner: try metadata.controller, labels: labels.kept,
            labelSignature: labels.signature)
    }

    /// Returns `podIPs`, or `podIP` from a server without `podIPs`.
    private static func addresses(
        _ status: Kubenetmon__Kubernetes__PodStatus, _ reader: inout AddressReader
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<status.n_pod_ips { reader.read(status.pod_ips[index]?.pointee.ip, into: &addresses) }
        if addresses.isEmpty { reader.read(status.pod_ip, into: &addresses) }
        return addresses
    }

    /// Returns `hostIPs`, or `hostIP` from a server without `hostIPs`.
    private static func hostAddresses(
        _ status: Kubenetmon__Kubernetes__PodStatus, _ reader: inout AddressReader
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for index in 0..<status.n_host_ips { reader.read(status.host_ips[index]?.pointee.ip, into: &addresses) }
        if addresses.isEmpty { reader.read(status.host_ip, into: &addresses) }
        return addresses
    }

    private static func secondaryAddresses(
        _ metadata: ObjectMeta, besides addresses: [IPAddress], _ reader: inout AddressReader
    ) -> [IPAddress] {
        var all = addresses
        let limit = addresses.count + KubernetesLimits.secondaryAddresses
        metadata.forEachAddress(in: NetworkAnnotation.ofPods, &reader) { _, text, reader in
            reader.read(text, into: &all, limit: limit)
        }
        return Array(all.dropFirst(addresses.count))
    }

    /// Returns the later of `startTime` and the time at which the pod got its network, by its conditions; 0 if unknown.
    private static func start(_ status: Kubenetmon__Kubernetes__PodStatus) -> UInt32 {
        var (network, initialized) = (UInt32(0), UInt32(0))
        for index in 0..<status.n_conditions {
            guard let condition = status.conditions[index]?.pointee, let type = condition.type,
                let value = condition.status, strcmp(value, "True") == 0
            else { continue }
            if strcmp(type, "PodReadyToStartContainers") == 0 {
                network = UInt32(condition.last_transition_time)
            } else if strcmp(type, "Initialized") == 0 {
                initialized = UInt32(condition.last_transition_time)
            }
        }
        return max(UInt32(status.start_time), network > 0 ? network : initialized)
    }
}
