// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import KubernetesTestKit
import TestSupport
import Testing

@testable import KubernetesAPI

private let metadata = ListMetadata(resourceVersion: "1")

/// Decodes a node with these annotations.
private func node(_ annotations: [String: String]) throws -> (node: Node, unreadable: Int) {
    let list = try DecodedList(
        .nodes, ObjectEncoder.list([Node(name: "a", addresses: [])], metadata: metadata, annotations: annotations))
    return (try #require(list.objects.first), list.unreadableAddresses)
}

/// Decodes a pod at 10.244.1.7 with these annotations.
private func pod(_ annotations: [String: String], hostNetwork: Bool = false) throws -> (pod: Pod, unreadable: Int) {
    let pod = Pod(
        namespace: "shop", name: "web", node: "a", addresses: [IPAddress(v4: 0x0af4_0107)], hostNetwork: hostNetwork)
    let list = try DecodedList(
        .capturedPods, ObjectEncoder.list([pod], metadata: metadata, annotations: annotations))
    return (try #require(list.objects.first), list.unreadableAddresses)
}

extension Pod {
    fileprivate var secondary: [String] { secondaryAddresses.map(\.description) }
}

/// A node's annotations by a network plugin or distribution, and the addresses expected from them.
struct AnnotatedNode: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let annotations: [String: String]
    let addresses: [String]
    var podNetworks: [String] = []
}

@Suite struct NetworkAnnotationTests {
    // MARK: Nodes

    @Test(
        "a node's annotations by each network plugin are read",
        arguments: [
            AnnotatedNode(
                testDescription: "Calico, VXLAN",
                annotations: [
                    "projectcalico.org/IPv4Address": "172.31.12.132/20",
                    "projectcalico.org/IPv4VXLANTunnelAddr": "10.1.70.0",
                    "projectcalico.org/IPv6Address": "2001:db8::5/64",
                    "projectcalico.org/IPv6VXLANTunnelAddr": "fd00:1::4680",
                ], addresses: ["172.31.12.132", "10.1.70.0", "2001:db8::5", "fd00:1::4680"]),
            AnnotatedNode(
                testDescription: "Calico, IP in IP and WireGuard",
                annotations: [
                    "projectcalico.org/IPv4IPIPTunnelAddr": "10.244.93.192",
                    "projectcalico.org/IPv4WireguardInterfaceAddr": "10.244.93.193",
                    "projectcalico.org/IPv6WireguardInterfaceAddr": "fd00:1::1",
                    "projectcalico.org/WireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
                ], addresses: ["10.244.93.192", "10.244.93.193", "fd00:1::1"]),
            AnnotatedNode(
                testDescription: "Cilium",
                annotations: [
                    "network.cilium.io/ipv4-cilium-host": "10.244.0.28",
                    "network.cilium.io/ipv4-health-ip": "10.244.0.9",
                    "network.cilium.io/ipv4-Ingress-ip": "10.244.0.10",
                    "network.cilium.io/ipv4-pod-cidr": "10.244.0.0/25",
                    "network.cilium.io/ipv6-cilium-host": "fd00:10:244::28",
                    "network.cilium.io/ipv6-health-ip": "fd00:10:244::9",
                    "network.cilium.io/ipv6-Ingress-ip": "fd00:10:244::10",
                    "network.cilium.io/ipv6-pod-cidr": "fd00:10:244::/64",
                    "network.cilium.io/encryption-key": "3",
                ],
                addresses: [
                    "10.244.0.10", "10.244.0.28", "10.244.0.9", "fd00:10:244::10", "fd00:10:244::28", "fd00:10:244::9",
                ], podNetworks: ["10.244.0.0/25", "fd00:10:244::/64"]),
            AnnotatedNode(
                testDescription: "Cilium, older spelling",
                annotations: [
                    "io.cilium.network.ipv4-cilium-host": "10.244.60.81",
                    "io.cilium.network.ipv4-health-ip": "10.244.60.6",
                    "io.cilium.network.ipv4-pod-cidr": "10.244.60.0/25",
                ], addresses: ["10.244.60.81", "10.244.60.6"], podNetworks: ["10.244.60.0/25"]),
            AnnotatedNode(
                testDescription: "OVN-Kubernetes",
                annotations: [
                    "k8s.ovn.org/host-cidrs": #"["172.18.0.3/16","192.168.10.16/24"]"#,
                    "k8s.ovn.org/l3-gateway-config":
                        #"{"default":{"mode":"shared","bridge-id":"breth0","interface-id":"breth0_ovn-worker","mac-address":"c6:a8:ac:29:8c:d0","ip-addresses":["172.18.0.3/16"],"ip-address":"172.18.0.3/16","next-hops":["172.18.0.1"],"next-hop":"172.18.0.1","node-port-enable":"true","vlan-id":"0"}}"#,
                    "k8s.ovn.org/node-encap-ips": #"["172.18.0.3"]"#,
                    "k8s.ovn.org/node-gateway-router-lrp-ifaddrs":
                        #"{"default":{"ipv4":"100.64.0.4/16"},"tenant":{"ipv4":"100.65.0.2/16"}}"#,
                    "k8s.ovn.org/node-masquerade-subnet": #"{"ipv4":"169.254.0.0/17","ipv6":"fd69::/112"}"#,
                    "k8s.ovn.org/node-primary-ifaddr": #"{"ipv4":"172.18.0.3/16"}"#,
                    "k8s.ovn.org/node-subnets":
                        #"{"default":["10.244.2.0/24","fd00:10:244:3::/64"],"tenant":["10.128.2.0/24"]}"#,
                    "k8s.ovn.org/node-transit-switch-port-ifaddr": #"{"ipv4":"100.88.0.3/16"}"#,
                ], addresses: ["172.18.0.3", "192.168.10.16", "100.64.0.4", "100.88.0.3"],
                podNetworks: ["10.244.2.0/24", "fd00:10:244:3::/64"]),
            AnnotatedNode(
                testDescription: "OVN-Kubernetes, older",
                annotations: [
                    "k8s.ovn.org/host-addresses": #"["1001:db8:0:200::78","192.168.126.10"]"#,
                    "k8s.ovn.org/node-gateway-router-lrp-ifaddr": #"{"ipv4":"100.64.0.5/16","ipv6":"fd98::5/64"}"#,
                    "k8s.ovn.org/node-subnets": #"{"default":"10.128.6.0/23"}"#,
                ], addresses: ["1001:db8:0:200::78", "192.168.126.10", "100.64.0.5", "fd98::5"],
                podNetworks: ["10.128.6.0/23"]),
            AnnotatedNode(
                testDescription: "Kube-OVN's join network",
                annotations: [
                    "ovn.kubernetes.io/ip_address": "100.64.0.2,fd00:100:64::2",
                    "ovn.kubernetes.io/cidr": "100.64.0.0/16", "ovn.kubernetes.io/gateway": "100.64.0.1",
                ], addresses: ["100.64.0.2", "fd00:100:64::2"]),
            AnnotatedNode(
                testDescription: "Flannel in K3s",
                annotations: [
                    "flannel.alpha.coreos.com/backend-data": #"{"VNI":1,"VtepMAC":"5e:4f:0c:b3:a5:66"}"#,
                    "flannel.alpha.coreos.com/public-ip": "10.10.5.63",
                    "flannel.alpha.coreos.com/public-ip-overwrite": "43.156.60.56",
                    "flannel.alpha.coreos.com/public-ipv6": "2001:db8::63",
                    "flannel.alpha.coreos.com/public-ipv6-overwrite": "2001:db8::64",
                    "k3s.io/external-ip": "43.156.60.56,43.156.60.57", "k3s.io/internal-ip": "10.10.5.63",
                    "k3s.io/node-args": #"["server","--node-external-ip","43.156.60.56"]"#,
                ], addresses: ["10.10.5.63", "43.156.60.56", "2001:db8::63", "2001:db8::64", "43.156.60.57"]),
            AnnotatedNode(
                testDescription: "RKE2, Antrea and GKE's further networks",
                annotations: [
                    "networking.gke.io/north-interfaces": #"[{"network":"blue","ipAddress":"172.16.0.5"}]"#,
                    "networking.gke.io/networks": #"[{"name":"blue","cidrs":["172.16.8.0/24"],"scope":"global"}]"#,
                    "node.antrea.io/transport-addresses": "172.17.0.5,fd00:17::5",
                    "rke2.io/external-ip": "198.51.100.7", "rke2.io/internal-ip": "192.0.2.7",
                ], addresses: ["172.16.0.5", "172.17.0.5", "fd00:17::5", "198.51.100.7", "192.0.2.7"]),
            AnnotatedNode(
                testDescription: "kube-router",
                annotations: [
                    "kube-router.io/pod-cidr": "10.32.1.0/24",
                    "kube-router.io/pod-cidrs": "10.32.1.0/24, 2001:db8:42:1::/64",
                ], addresses: [], podNetworks: ["10.32.1.0/24", "2001:db8:42:1::/64"]),
        ])
    func annotatedNode(_ known: AnnotatedNode) throws {
        let (node, unreadable) = try node(known.annotations)
        #expect(Set(node.addresses.map(\.description)) == Set(known.addresses))
        #expect(node.addresses.count == known.addresses.count)
        #expect(node.podNetworks.map(\.description) == known.podNetworks)
        #expect(unreadable == 0)
    }

    @Test("addresses in annotations are added to a node's own, each once")
    func annotationsAdd() throws {
        let plain = Node(
            name: "a", addresses: [IPAddress(v4: 0xc000_0201)], podNetworks: [try #require(IPPrefix("10.244.1.0/24"))])
        let annotations = [
            "projectcalico.org/IPv4Address": "192.0.2.1/24", "projectcalico.org/IPv4VXLANTunnelAddr": "10.244.1.0",
            "network.cilium.io/ipv4-pod-cidr": "10.244.1.0/24", "network.cilium.io/ipv6-pod-cidr": "fd00:1::/64",
        ]
        let node = try #require(
            try DecodedList(.nodes, ObjectEncoder.list([plain], metadata: metadata, annotations: annotations)).objects
                .first)
        #expect(node.addresses.map(\.description) == ["192.0.2.1", "10.244.1.0"])
        #expect(node.podNetworks.map(\.description) == ["10.244.1.0/24", "fd00:1::/64"])
    }

    @Test("an annotated address that no interface can have is skipped")
    func impossibleAddresses() throws {
        let (node, unreadable) = try node([
            "k3s.io/external-ip": "0.0.0.0,127.0.0.1,::1,::,224.0.0.5,ff02::5,255.255.255.255,192.0.2.9"
        ])
        #expect(node.addresses.map(\.description) == ["192.0.2.9"])
        #expect(unreadable == 0)
    }

    @Test("addresses beyond a node's limit are skipped and counted")
    func manyAddresses() throws {
        let texts = (0..<300).map { IPAddress(v4: 0x0a00_0100 + $0).description }
        let (node, unreadable) = try node(["k3s.io/external-ip": texts.joined(separator: ",")])
        #expect(node.addresses.map(\.description) == Array(texts.prefix(KubernetesLimits.nodeAddresses)))
        #expect(unreadable == 300 - KubernetesLimits.nodeAddresses)
    }

    // MARK: Pods

    @Test("the addresses of a pod's further interfaces are read from Multus' annotation")
    func multus() throws {
        let status = """
            [{
                "name": "cbr0",
                "interface": "eth0",
                "ips": [
                    "10.244.1.7"
                ],
                "mac": "0a:58:0a:f4:01:07",
                "default": true,
                "dns": {},
                "gateway": ["10.244.1.1"]
            },{
                "name": "default/macvlan-conf-1",
                "interface": "net1",
                "ips": ["192.168.1.205", "fd00:1::cd"],
                "mac": "86:1d:96:ff:55:0d",
                "dns": {"nameservers": ["192.168.1.53"]},
                "device-info": {"type": "pci", "version": "1.0.0", "pci": {"pci-address": "0000:65:00.2"}}
            }]
            """
        let (pod, unreadable) = try pod([
            "k8s.v1.cni.cncf.io/network-status": status, "k8s.v1.cni.cncf.io/networks-status": status,
            "k8s.v1.cni.cncf.io/networks": "macvlan-conf-1",
        ])
        #expect(pod.secondary == ["192.168.1.205", "fd00:1::cd"])
        #expect(pod.addresses.map(\.description) == ["10.244.1.7"])
        #expect(unreadable == 0)
    }

    @Test("of a user-defined network of OVN-Kubernetes, the address is read and not the gateway")
    func ovnKubernetes() throws {
        let networks = #"""
            {"default":{"ip_addresses":["10.244.1.7/24","fd00:10:244:2::7/64"],"mac_address":"0a:58:0a:f4:01:07",
            "gateway_ips":["10.244.1.1"],"routes":[{"dest":"10.244.0.0/16","nextHop":"10.244.1.1"}],
            "ip_address":"10.244.1.7/24","gateway_ip":"10.244.1.1","role":"infrastructure-locked"},
            "shop/tenant":{"ip_addresses":["10.128.1.3/24"],"ip_address":"10.128.1.3/24","gateway_ip":"10.128.1.1",
            "tunnel_id":5,"role":"primary"}}
            """#
        let (pod, unreadable) = try pod(["k8s.ovn.org/pod-networks": networks])
        #expect(pod.secondary == ["fd00:10:244:2::7", "10.128.1.3"])
        #expect(unreadable == 0)
    }

    @Test("annotations of pods by Calico, Kube-OVN and GKE are read")
    func otherNetworks() throws {
        #expect(
            try pod([
                "cni.projectcalico.org/podIP": "10.244.1.7/32",
                "cni.projectcalico.org/podIPs": "10.244.1.7/32,fd00::7/128",
            ])
            .pod.secondary == ["fd00::7"])
        #expect(
            try pod([
                "ovn.kubernetes.io/ip_address": "10.244.1.7,fd00:10:16::7", "ovn.kubernetes.io/gateway": "10.244.1.1",
                "attachnet.default.ovn.kubernetes.io/ip_address": "172.17.0.7", "ip_address": "10.0.0.9",
            ]).pod.secondary == ["172.17.0.7", "fd00:10:16::7"])
        #expect(
            try pod(["networking.gke.io/pod-ips": #"[{"networkName":"blue","ip":"172.16.0.9"}]"#]).pod.secondary
                == ["172.16.0.9"])
        // Calico empties them once the pod has ended.
        let done = try pod(["cni.projectcalico.org/podIP": "", "cni.projectcalico.org/podIPs": ""])
        #expect(done.pod.secondary == [])
        #expect(done.unreadable == 0)
    }

    @Test("a host-network pod has no secondary addresses")
    func hostNetwork() throws {
        let read = try pod(
            ["cni.projectcalico.org/podIP": "10.0.0.9", "k8s.ovn.org/pod-networks": "{"], hostNetwork: true)
        #expect(read.pod.secondaryAddresses == [])
        #expect(read.unreadable == 0)
    }

    @Test("a pod has at most 16 secondary addresses, and none that no interface can have")
    func bounds() throws {
        let texts = (0..<20).map { IPAddress(v4: 0x0a00_0100 + $0).description }
        let (many, unreadable) = try pod([
            "ovn.kubernetes.io/ip_address": (["127.0.0.1"] + texts).joined(separator: ",")
        ])
        #expect(many.secondary == Array(texts.prefix(16)))
        #expect(unreadable == 4)
    }

    @Test(
        "a malformed annotation is counted and does not affect others",
        arguments: [
            ("[", 1), ("{", 1), ("\u{0}", 0), ("", 0), ("  ", 1), (#"[{"ips":["10.0.0.8"]"#, 1), ("null", 0), ("[]", 0),
            ("7", 0),
            (#"{"ips":"10.0.0.8"} x"#, 1), (#"[{"ips":[10.0.0.8]}]"#, 0), (#"[{"ips":{"a":"10.0.0.8"}}]"#, 0),
            (#"[{"ips":["10.0.0.8/33","10.0.0.8/-1","10.0.0.8/x","10.0.0.8/24/24","fe80::1%eth0"]}]"#, 5),
            (#"[{"ips":["\#(String(repeating: "1", count: 1000))"]}]"#, 1), (#"[{"ips":["10.0.0.8\"#, 1),
            (#"[{"ips":["10.0.0.8\"]}]"#, 1), (String(repeating: "[", count: 60_000), 1),
            (String(repeating: #"{"ips":"#, count: 9_000), 1), (#"[{"ips":["\u0031"]}]"#, 1),
            (String(repeating: " ", count: 64 << 10) + #"[{"ips":["10.0.0.8"]}]"#, 1), (#"{"ips" "10.0.0.8"}"#, 1),
            (#"{"ips":}"#, 1), ("[,]", 1), (#"{"a":1,}"#, 1),
        ])
    func malformed(_ text: String, _ count: Int) throws {
        let (read, unreadable) = try pod([
            "k8s.v1.cni.cncf.io/network-status": text, "cni.projectcalico.org/podIP": "10.0.0.9/32",
        ])
        #expect(read.secondary.last == "10.0.0.9" || read.secondary.first == "10.0.0.9")
        #expect(Set(read.secondary).isSubset(of: ["10.0.0.8", "10.0.0.9"]))
        #expect(unreadable == count)
    }

    @Test("random annotations are read without a crash")
    func randomAnnotations() throws {
        var random = SeededGenerator(seed: 1)
        let pieces =
            "{ } [ ] : , \" \\ \"ips\" \"ip_address\" \"default\" \"ipv4\" \"10.0.0.8/24\" fd00::1 10.0.0.9 / null -1e9 \n \u{e9} \u{0}"
            .split(separator: " ", omittingEmptySubsequences: false)
        let keys = [
            "k8s.v1.cni.cncf.io/network-status", "k8s.ovn.org/pod-networks", "ovn.kubernetes.io/ip_address",
            "k8s.ovn.org/node-subnets", "k8s.ovn.org/host-cidrs", "k3s.io/external-ip", "kube-router.io/pod-cidrs",
        ]
        for _ in 0..<500 {
            var annotations: [String: String] = [:]
            for key in keys {
                let count = Int.random(in: 0...40, using: &random)
                annotations[key] = (0..<count).map { _ in String(pieces.randomElement(using: &random) ?? "") }.joined()
            }
            let (pod, _) = try pod(annotations)
            #expect(pod.secondaryAddresses.count <= 16)
            let (node, _) = try node(annotations)
            #expect(node.podNetworks.count <= 8)
        }
    }
}
