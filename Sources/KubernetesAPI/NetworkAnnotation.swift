// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc

/// An annotation in which a network plugin (CNI) or a distribution publishes addresses of a node or of a pod.
struct NetworkAnnotation: Sendable {
    /// The format of the addresses in a value.
    enum Form {
        /// One address or several separated by commas, each with or without a prefix length.
        case text
        /// The strings under these names in a JSON text.
        case json(JSONTexts.Path)
    }

    /// The meaning of the addresses.
    enum Content {
        /// Addresses of interfaces.
        case addresses
        /// Blocks of pods' addresses.
        case podNetworks
    }

    private let key: StaticString
    /// Whether any key that ends in `key` matches.
    private let isSuffix: Bool
    let content: Content
    let form: Form

    private init(_ key: StaticString, _ content: Content = .addresses, _ form: Form = .text, isSuffix: Bool = false) {
        self.key = key
        self.content = content
        self.form = form
        self.isSuffix = isSuffix
    }

    /// Whether a key of `length` bytes is that of this annotation.
    fileprivate func isNamed(_ name: UnsafePointer<CChar>, length: Int) -> Bool {
        let start = isSuffix ? length - key.utf8CodeUnitCount : 0
        guard start >= 0, start + key.utf8CodeUnitCount == length else { return false }
        return memcmp(name + start, key.utf8Start, key.utf8CodeUnitCount) == 0
    }
}

extension NetworkAnnotation {
    /// The annotations of nodes.
    static let ofNodes: [NetworkAnnotation] = [
        // Calico, libcalico-go/lib/backend/k8s/resources/node.go.
        NetworkAnnotation("projectcalico.org/IPv4Address"),
        NetworkAnnotation("projectcalico.org/IPv6Address"),
        NetworkAnnotation("projectcalico.org/IPv4IPIPTunnelAddr"),
        NetworkAnnotation("projectcalico.org/IPv4VXLANTunnelAddr"),
        NetworkAnnotation("projectcalico.org/IPv6VXLANTunnelAddr"),
        NetworkAnnotation("projectcalico.org/IPv4WireguardInterfaceAddr"),
        NetworkAnnotation("projectcalico.org/IPv6WireguardInterfaceAddr"),

        // Cilium with annotateK8sNode, pkg/annotation/k8s.go; the second of each is the older spelling.
        NetworkAnnotation("network.cilium.io/ipv4-cilium-host"),
        NetworkAnnotation("io.cilium.network.ipv4-cilium-host"),
        NetworkAnnotation("network.cilium.io/ipv6-cilium-host"),
        NetworkAnnotation("io.cilium.network.ipv6-cilium-host"),
        NetworkAnnotation("network.cilium.io/ipv4-health-ip"),
        NetworkAnnotation("io.cilium.network.ipv4-health-ip"),
        NetworkAnnotation("network.cilium.io/ipv6-health-ip"),
        NetworkAnnotation("io.cilium.network.ipv6-health-ip"),
        NetworkAnnotation("network.cilium.io/ipv4-Ingress-ip"),
        NetworkAnnotation("io.cilium.network.ipv4-Ingress-ip"),
        NetworkAnnotation("network.cilium.io/ipv6-Ingress-ip"),
        NetworkAnnotation("io.cilium.network.ipv6-Ingress-ip"),
        NetworkAnnotation("network.cilium.io/ipv4-pod-cidr", .podNetworks),
        NetworkAnnotation("io.cilium.network.ipv4-pod-cidr", .podNetworks),
        NetworkAnnotation("network.cilium.io/ipv6-pod-cidr", .podNetworks),
        NetworkAnnotation("io.cilium.network.ipv6-pod-cidr", .podNetworks),

        // OVN-Kubernetes, go-controller/pkg/util/node_annotations.go and subnet_annotations.go. `host-addresses` became
        // `host-cidrs`; `…-ifaddr` became `…-ifaddrs` with a level for networks. Only the cluster's default network is
        // read: user-defined networks may have the same addresses on every node.
        NetworkAnnotation("k8s.ovn.org/node-primary-ifaddr", .addresses, .json([["ipv4", "ipv6"]])),
        NetworkAnnotation("k8s.ovn.org/host-cidrs", .addresses, .json([])),
        NetworkAnnotation("k8s.ovn.org/host-addresses", .addresses, .json([])),
        NetworkAnnotation(
            "k8s.ovn.org/node-gateway-router-lrp-ifaddrs", .addresses, .json([["default"], ["ipv4", "ipv6"]])),
        NetworkAnnotation("k8s.ovn.org/node-gateway-router-lrp-ifaddr", .addresses, .json([["ipv4", "ipv6"]])),
        NetworkAnnotation("k8s.ovn.org/node-transit-switch-port-ifaddr", .addresses, .json([["ipv4", "ipv6"]])),
        NetworkAnnotation(
            "k8s.ovn.org/l3-gateway-config", .addresses, .json([["default"], ["ip-address", "ip-addresses"]])),
        NetworkAnnotation("k8s.ovn.org/node-subnets", .podNetworks, .json([["default"]])),

        // Kube-OVN, pkg/util/const.go: the node's address in the join network.
        NetworkAnnotation("ovn.kubernetes.io/ip_address"),

        // Flannel, pkg/subnet/kube/annotations.go, with its default prefix.
        NetworkAnnotation("flannel.alpha.coreos.com/public-ip"),
        NetworkAnnotation("flannel.alpha.coreos.com/public-ip-overwrite"),
        NetworkAnnotation("flannel.alpha.coreos.com/public-ipv6"),
        NetworkAnnotation("flannel.alpha.coreos.com/public-ipv6-overwrite"),

        // Antrea, pkg/agent/types/annotations.go.
        NetworkAnnotation("node.antrea.io/transport-addresses"),

        // kube-router, pkg/utils/pod_cidr.go.
        NetworkAnnotation("kube-router.io/pod-cidr", .podNetworks),
        NetworkAnnotation("kube-router.io/pod-cidrs", .podNetworks),

        // K3s and RKE2, pkg/cloudprovider/instances.go.
        NetworkAnnotation("k3s.io/internal-ip"),
        NetworkAnnotation("k3s.io/external-ip"),
        NetworkAnnotation("rke2.io/internal-ip"),
        NetworkAnnotation("rke2.io/external-ip"),

        // GKE's additional networks, cloud-provider-gcp/crd/apis/network/v1/annotations.go.
        // `networking.gke.io/networks` is not read: its blocks may be those of a whole node pool.
        NetworkAnnotation("networking.gke.io/north-interfaces", .addresses, .json([["ipAddress"]])),
    ]

    /// The annotations of pods.
    static let ofPods: [NetworkAnnotation] = [
        // Multus, network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1/types.go; the second is the older
        // spelling.
        NetworkAnnotation("k8s.v1.cni.cncf.io/network-status", .addresses, .json([["ips"]])),
        NetworkAnnotation("k8s.v1.cni.cncf.io/networks-status", .addresses, .json([["ips"]])),

        // Calico, libcalico-go/lib/backend/k8s/conversion/constants.go; empty once the pod is done.
        NetworkAnnotation("cni.projectcalico.org/podIP"),
        NetworkAnnotation("cni.projectcalico.org/podIPs"),

        // OVN-Kubernetes, go-controller/pkg/util/pod_annotation.go: by network. Gateways and routes have other names.
        NetworkAnnotation("k8s.ovn.org/pod-networks", .addresses, .json([nil, ["ip_address", "ip_addresses"]])),

        // Kube-OVN, pkg/util/const.go: `ovn.kubernetes.io/ip_address`, and one for each provider of an additional
        // network.
        NetworkAnnotation(".kubernetes.io/ip_address", isSuffix: true),

        // GKE's additional networks, as for nodes.
        NetworkAnnotation("networking.gke.io/pod-ips", .addresses, .json([["ip"]])),
    ]
}

extension ObjectMeta {
    /// Calls `body` with the text of each address in the object's annotations listed in the table. An annotation that
    /// is too long or malformed is counted.
    func forEachAddress(
        in table: [NetworkAnnotation], _ reader: inout AddressReader,
        _ body: (NetworkAnnotation.Content, UnsafeRawBufferPointer, inout AddressReader) -> Void
    ) {
        for index in 0..<n_annotations {
            guard let entry = annotations[index]?.pointee, let key = entry.key, let text = entry.value else { continue }
            let keyLength = strlen(key)
            guard let annotation = table.first(where: { $0.isNamed(key, length: keyLength) }) else { continue }
            let length = strnlen(text, KubernetesLimits.annotationLength + 1)
            guard length <= KubernetesLimits.annotationLength else {
                reader.noteUnreadable()
                continue
            }
            let bytes = UnsafeRawBufferPointer(start: text, count: length)
            switch annotation.form {
            case .text:
                var rest = bytes[...]
                while !rest.isEmpty {
                    let part = rest.prefix { $0 != UInt8(ascii: ",") }
                    rest = rest.dropFirst(part.count + 1)
                    body(annotation.content, part.trimmed, &reader)
                }
            case .json(let path) where length > 0:
                let isSound = JSONTexts.forEach(in: bytes, under: path) { body(annotation.content, $0, &reader) }
                if !isSound { reader.noteUnreadable() }
            case .json: break
            }
        }
    }
}

extension Slice where Base == UnsafeRawBufferPointer {
    /// The bytes without surrounding blanks.
    fileprivate var trimmed: UnsafeRawBufferPointer {
        let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        var bytes = drop(while: isBlank)
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return UnsafeRawBufferPointer(rebasing: bytes)
    }
}
