// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import KubernetesTestKit
import Testing

@testable import KubernetesAPI

/// Decodes one object; throws the reason if it was skipped.
private func decode<Object: EncodableObject & Equatable>(
    _ resource: KubernetesResource<Object>, _ body: (inout ProtobufWriter) -> Void
) throws -> Object {
    var message = ProtobufWriter()
    body(&message)
    let list = try DecodedList(
        resource,
        ObjectEncoder.list(of: Object.self, metadata: ListMetadata(resourceVersion: "1"), messages: [message.bytes]))
    if let error = list.lastMalformedObject { throw error }
    return try #require(list.objects.first)
}

extension ProtobufWriter {
    fileprivate mutating func appendName(_ body: (inout ProtobufWriter) -> Void = { _ in }) {
        append(1) { metadata in
            metadata.append(1, "a")
            metadata.append(3, "ns")
            body(&metadata)
        }
    }
}

@Suite struct KubernetesResourceTests {
    @Test("each resource has its path and is requested in protobuf")
    func eachResourceHasItsPathAndIsAskedForInProtobuf() {
        let pods = KubernetesResource.pods(labels: PodLabelMapping())
        #expect(pods.path == "/api/v1/pods")
        #expect(pods.fieldSelector == "status.phase!=Succeeded,status.phase!=Failed")
        #expect(pods.listContentType == "application/vnd.kubernetes.protobuf")
        #expect(pods.watchContentType == "application/vnd.kubernetes.protobuf")
        #expect(KubernetesResource.nodes.path == "/api/v1/nodes")
        #expect(KubernetesResource.nodes.fieldSelector == nil)
        #expect(KubernetesResource.services.path == "/api/v1/services")
        let replicaSets = KubernetesResource.replicaSets
        #expect(replicaSets.path == "/apis/apps/v1/replicasets")
        #expect(
            replicaSets.listContentType
                == "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        #expect(
            replicaSets.watchContentType
                == "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
    }

    // MARK: Pods

    @Test("of several configured labels, the first that the pod has counts")
    func ofSeveralLabelsTheFirstThatThePodHasCounts() throws {
        let mapping = PodLabelMapping([.app: ["first", "second"], .instanceID: ["second"], .cell: ["third", "first"]])
        func pod(_ labels: [(String, String)]) throws -> Pod {
            try decode(.pods(labels: mapping)) { message in
                message.appendName { metadata in
                    for (key, value) in labels { metadata.append(11, entry: key, value) }
                }
            }
        }
        let inOrder = try pod([("first", "1"), ("second", "2")])
        #expect(inOrder.columnLabels == [.app: "1", .instanceID: "2", .cell: "1"])
        let reversed = try pod([("second", "2"), ("first", "1")])
        #expect(reversed.columnLabels == [.app: "1", .instanceID: "2", .cell: "1"])
        // An empty value is ignored like a missing one.
        let empty = try pod([("first", ""), ("second", "2"), ("third", "")])
        #expect(empty.columnLabels == [.app: "2", .instanceID: "2"])
        let one = try pod([("second", "2"), ("other", "x")])
        #expect(one.columnLabels == [.app: "2", .instanceID: "2"])
        #expect(one.labels.isEmpty)
    }

    @Test("the default labels determine app and instance id") func theUsualLabelsTellApplicationAndInstance() throws {
        let pod = try decode(.pods(labels: PodLabelMapping(kept: ["team", "absent"]))) { message in
            message.appendName { metadata in
                metadata.append(11, entry: "control-plane-id", "blue")
                metadata.append(11, entry: "k8s-app", "dns")
                metadata.append(11, entry: "team", "network")
                metadata.append(11, entry: "other", "x")
            }
        }
        #expect(pod.columnLabels == [.app: "dns", .instanceID: "blue"])
        #expect(pod.labels == ["team": "network"])
    }

    @Test("a pod with addresses of both families has both") func aPodWithTwoAddressesHasBoth() throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName()
            message.append(3) { status in
                status.append(6, "10.0.0.1")
                status.append(12) { $0.append(1, "10.0.0.1") }
                status.append(12) { $0.append(1, "fd00::1") }
            }
        }
        #expect(pod.addresses.map(\.description) == ["10.0.0.1", "fd00::1"])
    }

    @Test("a pod without podIPs has its podIP") func aPodWithoutAListOfAddressesHasItsOneAddress() throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName()
            message.append(3) { $0.append(6, "10.0.0.1") }
        }
        #expect(pod.addresses.map(\.description) == ["10.0.0.1"])
    }

    @Test("an unreadable address of a pod does not affect the others")
    func anAddressOfAPodThatCannotBeReadCostsItself() throws {
        func addresses(_ single: String, _ list: [String]) throws -> [String] {
            try decode(.capturedPods) { message in
                message.appendName()
                message.append(3) { status in
                    status.append(6, single)
                    for address in list { status.append(12) { $0.append(1, address) } }
                }
            }.addresses.map(\.description)
        }
        #expect(try addresses("", ["fe80::1%eth0", "10.0.0.1", "10.0.0.256"]) == ["10.0.0.1"])
        #expect(try addresses("10.0.0.1", ["fe80::1%eth0"]) == ["10.0.0.1"])
        #expect(try addresses("10.0.0", []) == [])
    }

    @Test("a pod that is not scheduled has neither node nor address")
    func aPodThatIsNotScheduledHasNeitherNodeNorAddress() throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName()
            message.append(3) { status in
                status.append(1, "Pending")
                status.append(6, "")
            }
        }
        #expect(pod == Pod(namespace: "ns", name: "a", node: "", addresses: []))
    }

    @Test(
        "a pod is terminated in the phases Succeeded and Failed",
        arguments: ["Running": false, "Pending": false, "Unknown": false, "Succeeded": true, "Failed": true])
    func thePhaseTellsWhetherAPodHasEnded(_ phase: String, _ isTerminated: Bool) throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName()
            message.append(3) { $0.append(1, phase) }
        }
        #expect(pod.isTerminated == isTerminated)
    }

    @Test("a pod without a start time has its creation time") func aPodWithoutAStartHasItsCreation() throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName { metadata in metadata.append(8) { $0.append(1, 77) } }
            message.append(3) { $0.append(7, [UInt8]()) }
        }
        #expect(pod.startedAt == 77)
    }

    @Test("a pod owns its address from the later of its start and its network condition")
    func startOfANetwork() throws {
        func start(_ conditions: [(type: String, status: String, time: Int)], startTime: Int = 100) throws -> UInt32 {
            try decode(.capturedPods) { message in
                message.appendName { metadata in metadata.append(8) { $0.append(1, 50) } }
                message.append(3) { status in
                    for condition in conditions {
                        status.append(2) { entry in
                            entry.append(1, condition.type)
                            entry.append(2, condition.status)
                            if condition.time > 0 { entry.append(4) { $0.append(1, condition.time) } }
                        }
                    }
                    if startTime > 0 { status.append(7) { $0.append(1, startTime) } }
                }
            }.startedAt
        }
        let ready = "PodReadyToStartContainers"
        #expect(try start([]) == 100)
        #expect(try start([], startTime: 0) == 50)
        #expect(try start([("Ready", "True", 900), ("Initialized", "True", 200), (ready, "True", 300)]) == 300)
        #expect(try start([(ready, "True", 150), ("Initialized", "True", 200)]) == 150)
        #expect(try start([(ready, "False", 300), ("Initialized", "True", 200)]) == 200)
        #expect(try start([(ready, "True", 0), ("Initialized", "True", 200)]) == 200)
        #expect(try start([("Initialized", "False", 200)]) == 100)
        #expect(try start([(ready, "True", 90)]) == 100)
        #expect(try start([(ready, "True", 300)], startTime: 0) == 300)
        #expect(try start([(ready, "True", 1 << 32)]) == 100)
    }

    @Test("a pod has the addresses of its node from hostIPs") func aPodTellsTheAddressesOfItsNode() throws {
        func addresses(_ single: String, _ list: [String]) throws -> [String] {
            try decode(.capturedPods) { message in
                message.appendName()
                message.append(3) { status in
                    status.append(5, single)
                    for address in list { status.append(16) { $0.append(1, address) } }
                }
            }.hostAddresses.map(\.description)
        }
        #expect(try addresses("192.0.2.1", ["192.0.2.1", "2001:db8::1"]) == ["192.0.2.1", "2001:db8::1"])
        #expect(try addresses("192.0.2.1", []) == ["192.0.2.1"])
        #expect(try addresses("", []) == [])
        #expect(try addresses("", ["192.0.2.256", "2001:db8::1"]) == ["2001:db8::1"])
    }

    @Test("a time out of range is unknown", arguments: [1 << 32, Int.max])
    func aTimeThatIsOutOfRangeIsUnknown(_ seconds: Int) throws {
        let node = try decode(.nodes) { message in
            message.appendName { metadata in metadata.append(8) { $0.append(1, seconds) } }
        }
        #expect(node.createdAt == 0)
    }

    @Test("a time before the epoch is unknown") func aTimeBeforeTheEpochIsUnknown() throws {
        let node = try decode(.nodes) { message in
            message.appendName { metadata in
                metadata.append(8, [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])
            }
        }
        #expect(node.createdAt == 0)
    }

    @Test("the owner of a pod is its controller") func theControllerIsTheOwner() throws {
        let pod = try decode(.capturedPods) { message in
            message.appendName { metadata in
                metadata.append(13) { $0.append(3, "bystander") }
                metadata.append(13) { owner in
                    owner.append(1, "Job")
                    owner.append(3, "nightly")
                    owner.append(4, "11111111-2222-4333-8444-555555555555")
                    owner.append(6, 1)
                }
            }
        }
        #expect(
            pod.owner
                == ObjectOwner(
                    kind: "Job", name: "nightly", uid: ObjectUID("11111111-2222-4333-8444-555555555555")))
    }

    @Test("a text that is not UTF-8 makes the object malformed") func aTextThatIsNotUTF8IsAProblem() {
        #expect(
            throws: MalformedObject(
                resource: "pods", namespace: "ns", name: "a", problem: .notUTF8(field: "spec.nodeName"))
        ) {
            try decode(.capturedPods) { message in
                message.appendName()
                message.append(2) { $0.append(10, [0xc3, 0x28]) }
            }
        }
    }

    @Test("unreadable addresses are counted, and absent ones are not")
    func anAddressThatCannotBeReadIsCountedAndNoneIsNot() throws {
        var reader = AddressReader()
        var addresses: [IPAddress] = []
        for text in ["10.0.0.1", "", "fe80::1%eth0", "fd00::1", "None"] { reader.read(text, into: &addresses) }
        reader.read(nil, into: &addresses)
        #expect(addresses.map(\.description) == ["10.0.0.1", "fd00::1"])
        #expect(reader.unreadable == 2)
    }

    // MARK: Nodes

    @Test("a node has its internal and external addresses") func aNodeHasItsAddressesInsideAndOutside() throws {
        let node = try decode(.nodes) { message in
            message.appendName()
            message.append(3) { status in
                for (type, address) in [
                    ("InternalIP", "10.0.0.1"), ("Hostname", "a"), ("ExternalIP", "198.51.100.1"),
                    ("InternalDNS", "a.internal"), ("InternalIP", "fd00::1"), ("ExternalIP", ""),
                    ("ExternalIP", "fe80::1%eth0"),
                ] {
                    status.append(5) { entry in
                        entry.append(1, type)
                        entry.append(2, address)
                    }
                }
            }
        }
        #expect(node.addresses.map(\.description) == ["10.0.0.1", "198.51.100.1", "fd00::1"])
    }

    @Test("loopback, multicast and reserved addresses of a node are skipped")
    func aNodeHasNoAddressThatNoInterfaceHas() throws {
        let node = try decode(.nodes) { message in
            message.appendName()
            message.append(3) { status in
                for address in [
                    "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "240.0.0.1",
                ] {
                    status.append(5) { entry in
                        entry.append(1, "InternalIP")
                        entry.append(2, address)
                    }
                }
            }
        }
        #expect(node.addresses.map(\.description) == ["240.0.0.1"])
    }

    @Test("a node's pod networks are spec.podCIDRs, or else spec.podCIDR")
    func podNetworks() throws {
        func networks(_ single: String, _ list: [String]) throws -> [String] {
            try decode(.nodes) { message in
                message.appendName()
                message.append(2) { spec in
                    spec.append(1, single)
                    for network in list { spec.append(7, network) }
                }
            }.podNetworks.map(\.description)
        }
        #expect(try networks("10.244.1.0/24", ["10.244.1.0/24", "fd00:1::/64"]) == ["10.244.1.0/24", "fd00:1::/64"])
        #expect(try networks("10.244.1.0/24", []) == ["10.244.1.0/24"])
        #expect(try networks("", []) == [])
        // The first three are too large for one node.
        #expect(
            try networks("", ["10.0.0.0/7", "0.0.0.0/0", "fd00::/31", "10.0.0.0/8", "fd00::/32"]) == [
                "10.0.0.0/8", "fd00::/32",
            ])
        #expect(
            try networks("", ["10.244.1.0", "10.244.1.0/33", "x", "10.244.1.0/24/1", "10.244.2.0/24"]) == [
                "10.244.2.0/24"
            ])
        let many = (0..<20).map { "10.244.\($0).0/24" }
        #expect(try networks("", many) == Array(many.prefix(KubernetesLimits.podNetworks)))
    }

    @Test("the old zone label is read only if the new one is missing")
    func theOldZoneLabelIsReadWhenTheNewOneIsMissing() throws {
        func zone(_ labels: [(String, String)]) throws -> String {
            try decode(.nodes) { message in
                message.appendName { metadata in
                    for (key, value) in labels { metadata.append(11, entry: key, value) }
                }
            }.zone
        }
        let old = ("failure-domain.beta.kubernetes.io/zone", "old")
        let new = ("topology.kubernetes.io/zone", "new")
        #expect(try zone([old]) == "old")
        #expect(try zone([new, old]) == "new")
        #expect(try zone([old, new]) == "new")
        #expect(try zone([]) == "")
    }

    // MARK: Services

    @Test("a headless service has no address") func aHeadlessServiceHasNoAddress() throws {
        let service = try decode(.services) { message in
            message.appendName()
            message.append(2) { spec in
                spec.append(3, "None")
                spec.append(18, "None")
            }
        }
        #expect(service.clusterAddresses.isEmpty)
    }

    @Test("a service has one address or one of each family") func aServiceMayHaveOneAddressOrBothFamilies() throws {
        func addresses(_ single: String, _ list: [String]) throws -> [String] {
            try decode(.services) { message in
                message.appendName()
                message.append(2) { spec in
                    spec.append(3, single)
                    for address in list { spec.append(18, address) }
                }
            }.clusterAddresses.map(\.description)
        }
        #expect(try addresses("10.96.0.1", []) == ["10.96.0.1"])
        #expect(try addresses("10.96.0.1", ["10.96.0.1", "fd00::1"]) == ["10.96.0.1", "fd00::1"])
        #expect(try addresses("", []) == [])
        // An unreadable address does not affect the others.
        #expect(try addresses("10.96.0.1", ["fe80::1%eth0", "10.96.0.1"]) == ["10.96.0.1"])
        #expect(try addresses("10.96.0.256", []) == [])
    }

    @Test("a service's external addresses are its load balancer's and spec.externalIPs")
    func externalAddresses() throws {
        func service(_ type: String, ingress: [String], externalIPs: [String]) throws -> ClusterService {
            try decode(.services) { message in
                message.appendName()
                message.append(2) { spec in
                    spec.append(1) { $0.append(3, 80) }
                    spec.append(3, "10.96.0.1")
                    spec.append(4, type)
                    for address in externalIPs { spec.append(5, address) }
                }
                message.append(3) { status in
                    status.append(1) { balancer in
                        for address in ingress {
                            balancer.append(1) { entry in
                                entry.append(1, address)
                                entry.append(2, address.isEmpty ? "lb.example.com" : "")
                            }
                        }
                    }
                }
            }
        }
        let balanced = try service(
            "LoadBalancer", ingress: ["198.51.100.1", "", "x", "2001:db8::1"], externalIPs: ["198.51.100.2"])
        #expect(balanced.externalAddresses.map(\.description) == ["198.51.100.1", "2001:db8::1", "198.51.100.2"])
        #expect(balanced.ports == [.init(transport: .tcp, number: 80)])
        let many = try service(
            "ClusterIP", ingress: [], externalIPs: (0..<300).map { IPAddress(v4: 0xc633_6400 + $0).description })
        #expect(many.externalAddresses.count == KubernetesLimits.externalAddresses)
        let name = try service("ExternalName", ingress: ["198.51.100.1"], externalIPs: ["198.51.100.2"])
        #expect(name == ClusterService(namespace: "ns", name: "a", clusterAddresses: []))
    }

    @Test("an invalid port of a service is skipped")
    func servicePorts() throws {
        let service = try decode(.services) { message in
            message.appendName()
            message.append(2) { spec in
                for (name, port, nodePort) in [
                    ("TCP", 443, 30443), ("UDP", 53, 0), ("SCTP", 65535, 65536), ("", 1, 65535), ("TCP", 0, 30000),
                    ("TCP", 65536, 30000), ("ICMP", 8, 0), ("TCP", Int(Int32.max), 0),
                ] {
                    spec.append(1) { entry in
                        entry.append(2, name)
                        entry.append(3, port)
                        entry.append(5, nodePort)
                    }
                }
                spec.append(1, [UInt8]())
                spec.append(3, "None")
            }
        }
        #expect(
            service.ports == [
                .init(transport: .tcp, number: 443, nodePort: 30443), .init(transport: .udp, number: 53),
                .init(transport: .sctp, number: 65535), .init(transport: .tcp, number: 1, nodePort: 65535),
            ])
        let crowded = ClusterService(
            namespace: "ns", name: "a", clusterAddresses: [],
            ports: (1...2000).map { .init(transport: .udp, number: $0) })
        let list = try DecodedList(
            .services, ObjectEncoder.list([crowded], metadata: ListMetadata(resourceVersion: "1")))
        #expect(list.objects.first?.ports == Array(crowded.ports.prefix(KubernetesLimits.servicePorts)))
    }

    // MARK: Encoded objects

    @Test("encoded objects are decoded unchanged") func madeObjectsAreReadAsTheyWere() throws {
        let owner = ObjectOwner(kind: "ReplicaSet", name: "web-1", uid: ObjectUID("rs"))
        let pod = Pod(
            namespace: "shop", name: "web-1-x", node: "node-a", addresses: [IPAddress(v4: 7), IPAddress(bits: 9)],
            secondaryAddresses: [IPAddress(v4: 0x0a00_0008), IPAddress(bits: 10)],
            hostAddresses: [IPAddress(v4: 7), IPAddress(bits: 8)], isTerminated: true, startedAt: 12,
            columnLabels: [.app: "web", .instanceID: "blue", .cell: "c1"], owner: owner,
            labels: ["pod-template-hash": "x"],
            labelSignature: LabelSignature([
                "pod-template-hash": "x", "app.kubernetes.io/name": "web", "control-plane-id": "blue", "cell": "c1",
            ]))
        let hostNetworkPod = Pod(
            namespace: "shop", name: "proxy", node: "node-a", addresses: [IPAddress(v4: 7)], hostNetwork: true)
        let node = Node(
            name: "node-a", addresses: [IPAddress(v4: 7), IPAddress(v4: 8)],
            podNetworks: [try #require(IPPrefix("10.244.1.0/24")), try #require(IPPrefix("fd00:244:1::/64"))],
            zone: "a",
            createdAt: 5)
        let service = ClusterService(
            namespace: "shop", name: "web", clusterAddresses: [IPAddress(v4: 3)],
            externalAddresses: [IPAddress(v4: 4), IPAddress(bits: 5)],
            ports: [
                .init(transport: .tcp, number: 443, nodePort: 30443), .init(transport: .udp, number: 443),
                .init(transport: .sctp, number: 9),
            ],
            selector: ["app": "web", "tier": "front"], createdAt: 7)
        let headless = ClusterService(namespace: "shop", name: "db", clusterAddresses: [])
        let replicaSet = ReplicaSet(uid: ObjectUID("rs"), owner: owner)
        let metadata = ListMetadata(resourceVersion: "9", continueToken: "more", remainingItemCount: 3)
        let mapping = PodLabelMapping([.cell: ["cell"]], kept: ["pod-template-hash"])
        for padding in [0, 3000] {
            let pods = try DecodedList(
                .pods(labels: mapping), ObjectEncoder.list([pod, hostNetworkPod], metadata: metadata, padding: padding))
            #expect(pods.objects == [pod, hostNetworkPod])
            #expect(pods.metadata == metadata)
            #expect(
                try DecodedList(.nodes, ObjectEncoder.list([node], metadata: metadata, padding: padding)).objects
                    == [node])
            #expect(
                try DecodedList(
                    .services, ObjectEncoder.list([service, headless], metadata: metadata, padding: padding)
                ).objects == [service, headless])
            #expect(
                try DecodedList(
                    .replicaSets, ObjectEncoder.list([replicaSet], metadata: metadata, padding: padding)
                ).objects == [replicaSet])
        }
    }

    @Test("encoded events are decoded unchanged") func madeEventsAreReadAsTheyWere() throws {
        let node = Node(name: "node-a", addresses: [IPAddress(v4: 7)])
        let status = KubernetesStatus(code: 410, reason: "Expired", message: "too old")
        let body = [
            ObjectEncoder.event("ADDED", node, resourceVersion: "1", padding: 500),
            ObjectEncoder.event("MODIFIED", node, resourceVersion: "2"),
            ObjectEncoder.event("DELETED", node, resourceVersion: "3"),
            ObjectEncoder.bookmark(of: Node.self, resourceVersion: "4"),
            ObjectEncoder.bookmark(of: Node.self, resourceVersion: "5", endsInitialEvents: true),
            ObjectEncoder.error(status),
        ].flatMap { $0 }
        #expect(
            try DecodedWatch(.nodes, body).events == [
                .updated(node, resourceVersion: "1"), .updated(node, resourceVersion: "2"),
                .deleted(node, resourceVersion: "3"), .bookmark(resourceVersion: "4", endsInitialEvents: false),
                .bookmark(resourceVersion: "5", endsInitialEvents: true), .failed(status),
            ])
    }
}
