// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Labeling
import Synchronization
import TestSupport
import Testing

let indexSite = Site(environment: "production", cloud: "aws", region: "eu-central-1", cluster: "main")

/// An index with stores for all resources, and a clock that only `setTime(_:)` moves.
final class IndexUnderTest: Sendable {
    let index: ClusterIndex
    let pods: any ObjectStore<Pod>
    let nodes: any ObjectStore<Node>
    let services: any ObjectStore<ClusterService>
    let labeler: Labeler
    private let clock: Clock

    private final class Clock: Sendable {
        let second = Mutex(noon)
    }

    init(nodes: [Node] = [Node(name: "node-a", addresses: [address("172.18.0.2")], zone: "a")]) {
        let clock = Clock()
        self.clock = clock
        index = ClusterIndex(site: indexSite) { clock.second.withLock { $0 } }
        pods = index.podStore()
        self.nodes = index.nodeStore()
        services = index.serviceStore()
        labeler = Labeler(
            index: index,
            configuration: Labeler.Configuration(
                ignoreNodeFlows: false, ignoreUnknownDirection: false, ignoreTransit: false))
        list(nodes, self.nodes)
    }

    func list<Object>(_ objects: [Object], _ store: any ObjectStore<Object>) {
        store.beginReplacement()
        for object in objects { store.add(object) }
        store.commitReplacement()
    }

    /// Sets the clock to this many seconds after noon.
    func setTime(_ seconds: UInt32) { clock.second.withLock { $0 = noon + seconds } }

    /// Returns the labels of an address in a flow observed this many seconds after noon; nil for no pod or node.
    func labels(of text: String, at seconds: UInt32 = 0, on node: String = "") -> EndpointLabels? {
        let from = flow(text, text.contains(":") ? "2001:db8::1" : "192.0.2.1")
        return labeler.read(observedOn: node, at: noon + seconds) { reader in
            guard case .labeled(let labeled) = reader.label(from) else { return nil }
            let end = labeled.local.address == from.original.source ? labeled.local : labeled.remote
            return end.kind == .pod || end.kind == .node ? end.labels.labels : nil
        }
    }

    /// Returns the name of the pod at an address; nil for no pod or node, empty for a node.
    func pod(at text: String, at seconds: UInt32 = 0, on node: String = "") -> String? {
        labels(of: text, at: seconds, on: node)?[.pod]
    }
}

func pod(
    _ name: String, _ addresses: String..., node: String = "node-a", hostNetwork: Bool = false,
    isTerminated: Bool = false, startedAt: UInt32 = 0, owner: ObjectOwner? = nil
) -> Pod {
    Pod(
        namespace: "shop", name: name, node: node, addresses: addresses.map(address), hostNetwork: hostNetwork,
        isTerminated: isTerminated, startedAt: startedAt == 0 ? 0 : noon + startedAt, owner: owner)
}

@Suite struct ClusterIndexTests {
    @Test("every address is found with its pod or node") func everyAddressLeadsToItsPodOrNode() {
        let test = IndexUnderTest(nodes: [
            Node(name: "node-a", addresses: [address("172.18.0.2"), address("fc00::2"), address("3.3.3.3")], zone: "a")
        ])
        test.list([pod("web", "10.0.0.1", "fd00::1"), pod("proxy", "172.18.0.2", hostNetwork: true)], test.pods)
        for text in ["10.0.0.1", "fd00::1"] {
            #expect(test.pod(at: text) == "web")
            #expect(test.labels(of: text)?[.availabilityZone] == "a")
        }
        for text in ["172.18.0.2", "fc00::2", "3.3.3.3"] { #expect(test.pod(at: text) == "") }
        #expect(test.pod(at: "10.0.0.3") == nil)
        #expect(test.index.statistics.pods == 1)
        #expect(test.index.statistics.nodes == 1)
    }

    @Test("a deleted pod owns its address for two minutes, and past flows for a week")
    func aDeletedPodIsMeantForTwoMinutesAndRememberedForAWeek() {
        let test = IndexUnderTest()
        test.list([pod("web", "10.0.0.1")], test.pods)
        test.setTime(10)
        test.pods.apply([.deleted(pod("web", "10.0.0.1"))])
        #expect(test.pod(at: "10.0.0.1", at: 5) == "web")
        #expect(test.pod(at: "10.0.0.1", at: 130) == "web")
        #expect(test.pod(at: "10.0.0.1", at: 131) == nil)
        #expect(test.index.statistics.pods == 0)
        // A later owner of the address does not change earlier answers: an agent may have waited for a server.
        let week: UInt32 = 7 * 86_400
        test.setTime(week)
        test.pods.apply([.updated(pod("other", "10.0.0.1", startedAt: 200))])
        #expect(test.pod(at: "10.0.0.1", at: 5) == "web")
        #expect(test.pod(at: "10.0.0.1", at: week) == "other")
        test.setTime(week + 11)
        test.pods.apply([.updated(pod("another", "10.0.0.2", startedAt: 200))])
        #expect(test.pod(at: "10.0.0.1", at: 5) == nil)
    }

    @Test("the last eight past owners of an address are kept") func ofManyWhoHadAnAddressTheLastAreRemembered() {
        let test = IndexUnderTest()
        for number in 0..<20 as Range<UInt32> {
            let pod = pod("pod-\(number)", "10.0.0.1", startedAt: 1 + number * 200)
            test.setTime(1 + number * 200)
            test.pods.apply([.updated(pod)])
            test.setTime(150 + number * 200)
            test.pods.apply([.deleted(pod)])
        }
        let names = (0..<20 as Range<UInt32>).map { test.pod(at: "10.0.0.1", at: 100 + $0 * 200) }
        #expect(names == Array(repeating: nil, count: 12) + (12..<20).map { "pod-\($0)" })
        // A candidate that was removed early is not removed again when its time comes, although its slot is in use by
        // then.
        test.list((0..<40).map { pod("new-\($0)", "10.0.1.\($0)", startedAt: 1) }, test.pods)
        test.setTime(7 * 86_400 + 10_000)
        for number in 0..<9 as Range<UInt32> {
            test.pods.apply([.updated(pod("last-\(number)", "10.0.2.\(number)", startedAt: 9_000))])
        }
        for number in 0..<40 { #expect(test.pod(at: "10.0.1.\(number)", at: 20_000) == "new-\(number)") }
        #expect(test.pod(at: "10.0.0.1", at: 100 + 19 * 200) == nil)
    }

    @Test("expired past owners are removed in small steps with each change")
    func ofManyThatEndedSomeAreForgottenWithEachChange() {
        let test = IndexUnderTest()
        let addresses = (0..<1_000).map { "10.0.\($0 / 250).\($0 % 250)" }
        let known = { addresses.count { test.pod(at: $0, at: 5) != nil } }
        test.list(addresses.map { pod("pod-\($0)", $0) }, test.pods)
        test.setTime(10)
        test.list([], test.pods)
        test.pods.apply([.updated(pod("other", "10.1.0.1"))])
        test.setTime(7 * 86_400 + 11)
        #expect(known() == 1_000)
        test.pods.apply([.updated(pod("other", "10.1.0.1"))])
        let afterOne = known()
        // Look-ups wait during removal, so a change removes some candidates, but not all.
        #expect(afterOne > 0 && afterOne < 1_000)
        for _ in 0..<10 { test.pods.apply([.updated(pod("other", "10.1.0.1"))]) }
        #expect(known() == 0)
        #expect(test.pod(at: "10.1.0.1") == "other")
    }

    @Test("thousands of pods that are added one by one are found")
    func podsThatComeOneByOneAreFoundHoweverManyThereAre() {
        let test = IndexUnderTest()
        for number in 0..<3_000 {
            test.pods.apply([.updated(pod("pod-\(number)", "10.0.\(number / 250).\(number % 250)", "fd00::\(number)"))])
        }
        for number in 0..<3_000 {
            #expect(test.pod(at: "10.0.\(number / 250).\(number % 250)") == "pod-\(number)")
            #expect(test.pod(at: "fd00::\(number)") == "pod-\(number)")
        }
        #expect(test.index.statistics.pods == 3_000)
    }

    @Test("a reused address belongs to its owner at the time of the flow")
    func anAddressThatIsUsedAgainBelongsToWhoHadItThen() {
        let test = IndexUnderTest()
        test.list([pod("old", "10.0.0.1", startedAt: 1)], test.pods)
        test.setTime(10)
        test.pods.apply([.deleted(pod("old", "10.0.0.1", startedAt: 1))])
        test.setTime(20)
        test.pods.apply([.updated(pod("new", "10.0.0.1", startedAt: 15))])
        #expect(test.pod(at: "10.0.0.1", at: 8) == "old")
        #expect(test.pod(at: "10.0.0.1", at: 12) == "old")
        #expect(test.pod(at: "10.0.0.1", at: 20) == "new")
        #expect(test.pod(at: "10.0.0.1", at: 60) == "new")
    }

    @Test("a pod owns its address from at most a minute before its start") func aPodIsNotMeantLongBeforeItsStart() {
        let test = IndexUnderTest()
        test.list([pod("new", "10.0.0.1", startedAt: 100)], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 39) == nil)
        #expect(test.pod(at: "10.0.0.1", at: 40) == "new")
        // A batch that covers a minute begins before the pod, whose predecessor is gone.
        test.list([pod("old", "10.0.0.2", startedAt: 1), pod("new", "10.0.0.1", startedAt: 100)], test.pods)
        test.setTime(20)
        test.pods.apply([.deleted(pod("old", "10.0.0.2", startedAt: 1))])
        test.setTime(100)
        test.pods.apply([.updated(pod("next", "10.0.0.2", startedAt: 90))])
        #expect(test.pod(at: "10.0.0.2", at: 39) == "old")
        #expect(test.pod(at: "10.0.0.2", at: 40) == "next")
    }

    @Test("of several living pods with an address, the one that started last owns it")
    func ofSeveralThatLiveTheOneThatStartedLastIsMeant() {
        let test = IndexUnderTest()
        test.list(
            [
                pod("stale", "10.0.0.1", startedAt: 1), pod("running", "10.0.0.1", startedAt: 5),
                pod("middle", "10.0.0.1", startedAt: 3),
            ], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 10) == "running")
        #expect(test.pod(at: "10.0.0.1", at: 4) == "middle")
        // Clocks differ, so the earliest pod is better than no pod.
        #expect(test.pod(at: "10.0.0.1", at: 0) == "stale")
    }

    /// As on Fargate, where each pod has a node with the pod's address.
    @Test("a pod wins over a node with the same address") func ofAPodAndANodeOnOneAddressThePodIsMeant() {
        let test = IndexUnderTest(nodes: [])
        for order in [true, false] {
            let node = Node(name: "fargate-1", addresses: [address("10.0.0.1")], createdAt: noon + (order ? 9 : 1))
            let mine = pod("web", "10.0.0.1", node: "fargate-1", startedAt: order ? 1 : 9)
            if order { test.nodes.apply([.updated(node)]) }
            test.pods.apply([.updated(mine)])
            if !order { test.nodes.apply([.updated(node)]) }
            #expect(test.pod(at: "10.0.0.1", at: 20) == "web")
        }
        let host = pod("host", "10.0.0.1", node: "fargate-1", hostNetwork: true, startedAt: 9)
        test.list([host], test.pods)
        test.setTime(300)
        test.list([host], test.pods)
        #expect(test.labels(of: "10.0.0.1", at: 300)?[.node] == "fargate-1")
        #expect(test.pod(at: "10.0.0.1", at: 300) == "")
    }

    @Test("of two living pods with an address, the one on the observing node owns it")
    func ofTwoPodsThatLiveTheOneOnTheObservingNodeIsMeant() {
        let test = IndexUnderTest()
        test.list(
            [pod("here", "10.0.0.1", startedAt: 1), pod("there", "10.0.0.1", node: "node-b", startedAt: 5)], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 10, on: "node-a") == "here")
        #expect(test.pod(at: "10.0.0.1", at: 10, on: "node-b") == "there")
        #expect(test.pod(at: "10.0.0.1", at: 10, on: "node-c") == "there")
        // If no pod exists any more, the observing node decides between pods that ended together.
        test.setTime(20)
        test.list([], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 25, on: "node-a") == "here")
        #expect(test.pod(at: "10.0.0.1", at: 25, on: "node-b") == "there")
    }

    @Test("the workload of a static pod is its name without the node's") func aStaticPodsWorkloadIsItsComponent() {
        let test = IndexUnderTest()
        let owner = ObjectOwner(kind: "Node", name: "node-a", uid: ObjectUID("node-a"))
        test.list(
            [
                pod("coredns-node-a", "10.0.0.1", owner: owner), pod("other", "10.0.0.2", owner: owner),
            ], test.pods)
        #expect(test.labels(of: "10.0.0.1")?[.workload] == "StaticPod/coredns")
        #expect(test.labels(of: "10.0.0.2")?[.workload] == "StaticPod/other")
    }

    @Test("terminated and host-network pods do not hide another owner of their address")
    func terminatedAndHostNetworkPodsHideNobody() {
        let test = IndexUnderTest()
        test.list(
            [
                pod("done", "10.0.0.1", isTerminated: true, startedAt: 9), pod("running", "10.0.0.1", startedAt: 1),
                pod("host", "10.0.0.1", hostNetwork: true, startedAt: 9), pod("over", "10.0.0.2"),
            ], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 20) == "running")
        test.setTime(5)
        test.pods.apply([.updated(pod("over", "10.0.0.2", isTerminated: true))])
        #expect(test.pod(at: "10.0.0.2", at: 5) == "over")
        #expect(test.pod(at: "10.0.0.2", at: 200) == nil)
    }

    /// A pod is admitted, and waits for its address while another pod has the address.
    @Test("a pod owns an address from when the watch showed it") func anAddressCountsFromWhenAWatchShowedIt() {
        let test = IndexUnderTest()
        test.list([pod("former", "10.0.0.1", startedAt: 1), pod("pending", startedAt: 5)], test.pods)
        for second in [60, 120, 180] as [UInt32] {
            test.setTime(second)
            test.pods.apply([])
        }
        test.setTime(200)
        test.pods.apply([.deleted(pod("former", "10.0.0.1", startedAt: 1))])
        test.setTime(210)
        test.pods.apply([.updated(pod("pending", "10.0.0.1", startedAt: 5))])
        #expect(test.pod(at: "10.0.0.1", at: 100) == "former")
        #expect(test.pod(at: "10.0.0.1", at: 200) == "former")
        #expect(test.pod(at: "10.0.0.1", at: 210) == "pending")
        // Later reports of the same pod change nothing, from a watch or from a list.
        test.setTime(300)
        test.pods.apply([.updated(pod("pending", "10.0.0.1", startedAt: 6))])
        test.list([pod("pending", "10.0.0.1", startedAt: 5)], test.pods)
        #expect(test.pod(at: "10.0.0.1", at: 100) == "former")
        #expect(test.pod(at: "10.0.0.1", at: 210) == "pending")
    }

    /// A load balancer's address moves from one service to another, and a pod gets a second address.
    @Test("an object owns a later address from when the watch showed it") func whatAnObjectGetsLaterCountsFromThen() {
        let test = IndexUnderTest()
        func service(_ name: String, _ external: String...) -> ClusterService {
            ClusterService(
                namespace: "shop", name: name, clusterAddresses: [], externalAddresses: external.map(address),
                ports: [ClusterService.Port(transport: .tcp, number: 2, nodePort: 30_000 + UInt16(name.count))],
                createdAt: noon - 5_000)
        }
        test.list([service("old", "192.168.7.7"), service("newer")], test.services)
        test.list([pod("web", "10.0.0.1"), pod("former", "fd00::1")], test.pods)
        test.setTime(80)
        test.pods.apply([])
        test.services.apply([])
        test.setTime(100)
        test.services.apply([.updated(service("old")), .updated(service("newer", "192.168.7.7"))])
        test.pods.apply([.deleted(pod("former", "fd00::1")), .updated(pod("web", "10.0.0.1", "fd00::1"))])
        func dialled(at seconds: UInt32) -> String? {
            test.labeler.read(observedOn: "node-a", at: noon + seconds) { reader in
                var flow = flow("192.0.2.9", "192.168.7.7")
                flow.reply.source = address("10.0.0.1")
                guard case .labeled(let labeled) = reader.label(flow) else { return nil }
                return labeled.service?.labels[.service]
            }
        }
        #expect(dialled(at: 30) == "shop/old")
        #expect(dialled(at: 100) == "shop/newer")
        #expect(test.pod(at: "fd00::1", at: 30) == "former")
        #expect(test.pod(at: "fd00::1", at: 100) == "web")
        #expect(test.pod(at: "10.0.0.1", at: 1) == "web")
    }

    /// Changes made while the API server was unreachable are reported together when the connection is back.
    @Test("after a watch outage, pods own their addresses from their start times")
    func afterASilencePodsHadTheirAddressesWhenTheySaySo() {
        let test = IndexUnderTest()
        test.list([pod("former", "10.0.0.1", startedAt: 1)], test.pods)
        test.setTime(720)
        test.pods.apply([.deleted(pod("former", "10.0.0.1"))])
        test.setTime(725)
        test.pods.apply([
            .updated(pod("next", "10.0.0.1", startedAt: 240)), .updated(pod("new", "10.0.0.2", startedAt: 300)),
        ])
        #expect(test.pod(at: "10.0.0.1", at: 230) == "former")
        #expect(test.pod(at: "10.0.0.1", at: 400) == "next")
        #expect(test.pod(at: "10.0.0.2", at: 300) == "new")
        test.setTime(760)
        test.pods.apply([.updated(pod("later", "10.0.0.3", startedAt: 300))])
        #expect(test.pod(at: "10.0.0.3", at: 600) == nil)
        #expect(test.pod(at: "10.0.0.3", at: 760) == "later")
    }

    /// Each port of a service at each external address is a position; their number is limited.
    @Test("a service has a limited number of address and port pairs, which do not evict past pods")
    func aServiceIsFoundAtSoManyPlacesAndNoMore() {
        let test = IndexUnderTest()
        let external = (0..<256).map { IPAddress(v4: 0xc633_0000 + UInt32($0)) }
        var service = ClusterService(
            namespace: "shop", name: "web", clusterAddresses: [address("10.96.0.1")], externalAddresses: external,
            ports: (1...1_024).map { ClusterService.Port(transport: .tcp, number: $0, nodePort: 30_000 + $0) })
        for round in 0..<20 as Range<UInt16> {
            service.ports[0].number = 2_000 + round
            test.services.apply([.updated(service)])
        }
        test.services.apply([.deleted(service)])
        // The many positions do not evict former pods.
        test.list([pod("web", "10.0.0.1")], test.pods)
        test.list([], test.pods)
        test.setTime(1_000)
        test.pods.apply([.updated(pod("other", "10.0.0.2"))])
        #expect(test.pod(at: "10.0.0.1", at: 0) == "web")
    }

    /// A server that has just started, and agents that have waited for it for half an hour.
    @Test("pods of the first list owned their addresses before it")
    func podsOfTheFirstListHadTheirAddressesBeforeIt() {
        let test = IndexUnderTest()
        test.setTime(1_800)
        test.list(
            [pod("old", "10.0.0.1"), pod("recent", "10.0.0.2", startedAt: 900), pod("host", hostNetwork: true)],
            test.pods)
        for second in stride(from: 1 as UInt32, to: 1_800, by: 100) {
            #expect(test.pod(at: "10.0.0.1", at: second, on: "node-a") == "old")
        }
        #expect(test.pod(at: "10.0.0.2", at: 900) == "recent")
        #expect(test.pod(at: "10.0.0.2", at: 800) == nil)
    }

    @Test("an address of two nodes belongs to the newer one") func twoNodesWithOneAddressAreStillANode() {
        let test = IndexUnderTest(nodes: [
            Node(name: "old", addresses: [address("172.18.0.2")], createdAt: noon - 100),
            Node(name: "new", addresses: [address("172.18.0.2")], createdAt: noon - 10),
        ])
        #expect(test.labels(of: "172.18.0.2")?[.node] == "new")
        #expect(test.labels(of: "172.18.0.2")?[.pod] == "")
        test.nodes.apply([.deleted(Node(name: "new", addresses: []))])
        test.setTime(500)
        test.nodes.apply([.updated(Node(name: "x", addresses: []))])
        #expect(test.labels(of: "172.18.0.2", at: 500)?[.node] == "old")
    }

    @Test("a node's zone applies to its pods whenever it becomes known")
    func aNodesZoneIsThatOfItsPodsWheneverItComes() {
        let test = IndexUnderTest(nodes: [])
        test.list([pod("web", "10.0.0.1"), pod("api", "10.0.0.2", node: "node-b")], test.pods)
        #expect(test.labels(of: "10.0.0.1")?[.availabilityZone] == "")
        test.nodes.apply([.updated(Node(name: "node-a", addresses: [], zone: "a"))])
        #expect(test.labels(of: "10.0.0.1")?[.availabilityZone] == "a")
        #expect(test.labels(of: "10.0.0.2")?[.availabilityZone] == "")
        test.nodes.apply([.updated(Node(name: "node-a", addresses: [], zone: "c"))])
        #expect(test.labels(of: "10.0.0.1")?[.availabilityZone] == "c")
        // The zone also counts if it changes while a list of pods is received.
        test.pods.beginReplacement()
        test.pods.add(pod("web", "10.0.0.7"))
        test.nodes.apply([.updated(Node(name: "node-a", addresses: [], zone: "d"))])
        test.pods.commitReplacement()
        #expect(test.labels(of: "10.0.0.7")?[.availabilityZone] == "d")
    }

    @Test("a new list replaces the old one atomically") func aNewListReplacesTheOldOneAtOnce() {
        let test = IndexUnderTest()
        test.list([pod("web", "10.0.0.1"), pod("api", "10.0.0.2")], test.pods)
        let before = test.labels(of: "10.0.0.2")
        test.setTime(10)
        test.pods.beginReplacement()
        test.pods.add(pod("api", "10.0.0.2"))
        test.pods.add(pod("new", "10.0.0.3"))
        #expect(test.pod(at: "10.0.0.3") == nil)
        test.pods.commitReplacement()
        #expect(test.pod(at: "10.0.0.3") == "new")
        #expect(test.pod(at: "10.0.0.1", at: 200) == nil)
        #expect(test.index.statistics.pods == 2)
        // Unchanged labels are still the same object.
        #expect(test.labels(of: "10.0.0.2") === before)
        test.pods.beginReplacement()
        test.pods.add(pod("never", "10.0.0.4"))
        test.pods.abandonReplacement()
        #expect(test.pod(at: "10.0.0.4") == nil && test.pod(at: "10.0.0.3") == "new")
    }

    @Test("a list in one store does not affect another store") func storesKnowNothingOfEachOther() {
        let test = IndexUnderTest()
        let other = test.index.podStore()
        test.list([pod("web", "10.0.0.1")], test.pods)
        test.list([pod("machine", "10.9.0.1")], other)
        test.list([], test.pods)
        test.setTime(500)
        #expect(test.pod(at: "10.9.0.1", at: 500) == "machine")
        #expect(test.pod(at: "10.0.0.1", at: 500) == nil)
    }

    @Test("a pod that changes its address is found at both, each at its time")
    func aPodThatChangesItsAddressIsFoundAtBoth() {
        let test = IndexUnderTest()
        test.list([pod("web", "10.0.0.1", "fd00::1")], test.pods)
        test.setTime(10)
        test.pods.apply([
            .updated(pod("web", "10.0.0.2", "fd00::1")), .updated(pod("web", "10.0.0.3", "fd00::1")),
        ])
        #expect(test.pod(at: "10.0.0.1", at: 5) == "web")
        #expect(test.pod(at: "10.0.0.3", at: 500) == "web")
        #expect(test.pod(at: "fd00::1", at: 500) == "web")
        #expect(test.pod(at: "10.0.0.1", at: 500) == nil)
    }

    @Test("the workload of a pod is the owner of its ReplicaSet") func theWorkloadIsWhatTheReplicaSetBelongsTo() {
        let test = IndexUnderTest()
        let replicaSets = test.index.replicaSetStore()
        let uid = ObjectUID("11111111-2222-3333-4444-555555555555")
        let owner = ObjectOwner(kind: "ReplicaSet", name: "web-7d4b9c6f5", uid: uid)
        test.list([pod("web-7d4b9c6f5-x", "10.0.0.1", owner: owner)], test.pods)
        // The name determines the workload before the ReplicaSet is known.
        #expect(test.labels(of: "10.0.0.1")?[.workload] == "Deployment/web")
        replicaSets.apply([
            .updated(
                ReplicaSet(uid: uid, owner: ObjectOwner(kind: "Rollout", name: "web", uid: ObjectUID("rollout"))))
        ])
        #expect(test.labels(of: "10.0.0.1")?[.workload] == "Rollout/web")
        test.pods.apply([.updated(pod("web-7d4b9c6f5-y", "10.0.0.2", owner: owner))])
        #expect(test.labels(of: "10.0.0.2")?[.workload] == "Rollout/web")
        test.list([ReplicaSet(uid: uid)], replicaSets)
        test.pods.apply([.updated(pod("web-7d4b9c6f5-z", "10.0.0.3", owner: owner))])
        #expect(test.labels(of: "10.0.0.3")?[.workload] == "ReplicaSet/web-7d4b9c6f5")
        // The ReplicaSet also counts if it comes while a list of pods is received.
        let late = ObjectOwner(kind: "ReplicaSet", name: "api-7d4b9c6f5", uid: ObjectUID("late"))
        test.pods.beginReplacement()
        test.pods.add(pod("api", "10.0.0.9", owner: late))
        replicaSets.apply([
            .updated(
                ReplicaSet(
                    uid: late.uid, owner: ObjectOwner(kind: "Rollout", name: "api", uid: ObjectUID("rollout"))))
        ])
        test.pods.commitReplacement()
        #expect(test.labels(of: "10.0.0.9")?[.workload] == "Rollout/api")
    }

    /// Compares the index with a complete list of all events, for random histories.
    @Test("the index agrees with a complete history for random events", arguments: 0..<20)
    func itAgreesWithTheWholeHistory(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let test = IndexUnderTest()
        var lives: [(pod: Pod, ended: UInt32?)] = []
        var second: UInt32 = 1
        for number in 0..<300 {
            second += UInt32.random(in: 0...3, using: &random)
            test.setTime(second)
            let alive = lives.indices.filter { lives[$0].ended == nil }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let born = pod(
                    "pod-\(number)", "10.0.0.\(Int.random(in: 1...12, using: &random))", startedAt: second)
                lives.append((born, nil))
                test.pods.apply([.updated(born)])
            case 5..<8:
                guard let index = alive.randomElement(using: &random) else { continue }
                lives[index].ended = second
                test.pods.apply([.deleted(lives[index].pod)])
            case 8:
                // A list without some of the pods.
                let missing = Set(alive.filter { _ in Bool.random(using: &random) })
                for index in missing { lives[index].ended = second }
                test.list(alive.filter { !missing.contains($0) }.map { lives[$0].pod }, test.pods)
            default:
                test.pods.apply(alive.map { .updated(lives[$0].pod) })
            }
            let asked = second - min(second - 1, UInt32.random(in: 0...60, using: &random))
            let text = "10.0.0.\(Int.random(in: 1...12, using: &random))"
            let had = lives.filter { $0.pod.addresses == [address(text)] }
            let then = had.filter { $0.pod.startedAt <= noon + asked && ($0.ended.map { $0 >= asked } ?? true) }
            guard let newest = then.map(\.pod.startedAt).max() else { continue }
            let expected = Set(then.filter { $0.pod.startedAt == newest }.map(\.pod.name))
            #expect(test.pod(at: text, at: asked).map(expected.contains) == true)
        }
        #expect(test.index.statistics.pods == lives.filter { $0.ended == nil }.count)
    }

    @Test("the index can be read while it changes") func itIsReadWhileItChanges() async {
        let test = IndexUnderTest()
        let readers = (0..<4).map { number in
            Task.detached {
                for step in 0..<20_000 { _ = test.pod(at: "10.0.\(number).\(step % 250)", at: UInt32(step)) }
            }
        }
        for round in 0..<20 {
            test.setTime(UInt32(round) * 50)
            test.list((0..<500).map { pod("pod-\(round)-\($0)", "10.0.\($0 % 4).\($0 / 4)") }, test.pods)
            test.pods.apply((0..<100).map { .deleted(pod("pod-\(round)-\($0)", "10.0.\($0 % 4).\($0 / 4)")) })
        }
        for reader in readers { await reader.value }
        #expect(test.index.statistics.pods == 400)
    }
}
