// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import DequeModule
import FlowModel

/// What is known of a cluster's objects beyond what look-ups need; keeps the labels that ``EndpointTables`` refer to.
struct ClusterRecords: Sendable {
    /// A pod, node or service.
    struct Owner: Sendable {
        enum Kind: Sendable {
            /// A pod outside the host network.
            case pod
            /// A pod in the host network, which has no address of its own.
            case hostNetworkPod
            case node
            /// What pods say of the addresses of a node of which there is no Node object.
            case standIn
            case service
        }

        var labels: EndpointLabels
        /// Its first place in the tables.
        var head: Int32
        /// Its node's number; -1 for a service, and for a pod that is on none.
        var node: Int32
        var startedAt: UInt32
        let kind: Kind
        /// A pod's labels, or those that a service with external addresses selects its pods by.
        var labelSignature = LabelSignature()
        /// Which store has it; stores know nothing of each other's objects.
        let store: Int
    }

    /// How an owner is to stand.
    struct Change: Sendable {
        let uid: ObjectUID
        /// Nil where it is gone or has no address of its own.
        let owner: (owner: Owner, positions: [EndpointTables.Position])?
        /// What controls a pod: its workload is told anew when the change is made.
        var controller: ObjectOwner?
        /// The blocks that a node gives its pods addresses of.
        var podNetworks: [IPPrefix] = []
        /// The addresses of the machine that a pod runs on.
        var hostAddresses: [IPAddress] = []
        /// From when on it has what an owner that is known has not had; nil for as long as the owner is there.
        var seenAt: UInt32?
    }

    /// What is known of the machine behind a node's name.
    private struct Host: Sendable {
        /// Its addresses, as the last pod has them that tells them.
        var addresses: [IPAddress] = []
        /// How many pods it has, those in its network included.
        var pods = 0
        /// How many Node objects there are of it.
        var nodes = 0
    }

    private struct Tombstone: Sendable {
        let slot: Int32
        let endedAt: UInt32
        let labels: EndpointLabels
    }

    private let site: Site
    /// The rules whose conditions on labels are looked at when a pod comes.
    var podFlags: ConnectionFlagRules
    private(set) var owners: [ObjectUID: Owner] = [:]
    /// The labels of all nodes that have a number.
    private var nodeLabels: ContiguousArray<EndpointLabels> = []
    /// The nodes that have pods or Node objects.
    private var hosts: [Int32: Host] = [:]
    /// The pod networks of Node objects.
    private var podNetworks: [ObjectUID: [IPPrefix]] = [:]
    private var told: ToldAddresses
    private var backends = ServiceBackends()
    /// Nodes whose pods have their zone to be told.
    private var rezoned: Set<Int32> = []
    /// Nodes whose stand-in may have to be added or removed.
    private var reconsidered: Set<Int32> = []
    private var replicaSets: [ObjectUID: ObjectOwner?] = [:]
    /// Pods whose ReplicaSet was not known when they came, by the ReplicaSet.
    private var waiting: [ObjectUID: [ObjectUID: ObjectOwner]] = [:]
    /// More ReplicaSets than this are not waited for: somebody may never come.
    private static let maximumWaiting = 10_000
    /// Whether anybody tells of ReplicaSets.
    var knowsReplicaSets = false
    /// In the order of their ends.
    private var tombstones: Deque<Tombstone> = []
    /// How many tombstones of a place are of those that were forgotten before their time: they come first.
    private var forgottenEarly: [Int32: Int] = [:]
    /// Labels that nobody refers to any more once the changed tables are in place.
    private var retired: [EndpointLabels] = []
    private var counts: [Owner.Kind: Int] = [:]

    init(site: Site, podFlags: ConnectionFlagRules) {
        self.site = site
        self.podFlags = podFlags
        told = ToldAddresses(cloud: site.cloud)
    }

    var statistics: ClusterIndex.Statistics {
        var statistics = ClusterIndex.Statistics()
        statistics.pods = counts[.pod, default: 0]
        statistics.nodes = counts[.node, default: 0]
        statistics.services = counts[.service, default: 0]
        statistics.replicaSets = replicaSets.count
        return statistics
    }

    // MARK: - What objects say

    /// What a pod changes, nil where it changes nothing.
    ///
    /// Its addresses count from when a watch showed them: it may have been admitted long before it was given any. When those
    /// of a pod in a list were given to it is not known; what the pod says counts. So it is after a silence, back to `heardAt`,
    /// when something was heard last.
    mutating func change(
        _ pod: Pod, store: Int, isListed: Bool, _ tables: borrowing EndpointTables, now: UInt32, heardAt: UInt32?
    ) -> Change? {
        // A pod's author can name any node; its addresses come from kubelet.
        guard !pod.isTerminated, !pod.addresses.isEmpty || pod.hostNetwork && !pod.hostAddresses.isEmpty else {
            return removal(of: pod.uid)
        }
        let node = tables.nodeNumbers[pod.node] ?? -1
        let positions =
            pod.hostNetwork
            ? []
            : pod.addresses.map { EndpointTables.Position(.pod, $0) }
                + pod.secondaryAddresses.map { EndpointTables.Position(.claimingPod, $0) }
        var startedAt = isListed ? pod.startedAt : min(now, max(pod.startedAt, heardAt ?? now))
        if let known = owners[pod.uid], tables.positions(ofOwner: known.head).contains(where: positions.contains) {
            startedAt = known.startedAt
        }
        let owner = Owner(
            labels: pod.hostNetwork ? labels(ofNode: node, named: pod.node) : labels(of: pod, on: node), head: -1,
            node: node, startedAt: startedAt, kind: pod.hostNetwork ? .hostNetworkPod : .pod,
            labelSignature: pod.labelSignature, store: store)
        let controller = pod.isStatic || pod.hostNetwork ? nil : pod.owner
        // A pod in the host network has its node's addresses.
        let hostAddresses = pod.hostNetwork && pod.hostAddresses.isEmpty ? pod.addresses : pod.hostAddresses
        return differing(
            Change(uid: pod.uid, owner: (owner, positions), controller: controller, hostAddresses: hostAddresses),
            tables)
    }

    private mutating func labels(of pod: Pod, on node: Int32) -> EndpointLabels {
        EndpointLabels(
            cloud: site.cloud, region: site.region, cluster: site.cluster, cell: pod.cell,
            availabilityZone: zone(ofNode: node), node: pod.node, instanceID: pod.instanceID, namespace: pod.namespace,
            pod: pod.name, app: pod.app, workload: workload(of: pod), flags: podFlags.flags(ofPodWith: pod.labels))
    }

    /// What a node changes, nil where it changes nothing.
    func change(_ node: Node, store: Int, _ tables: borrowing EndpointTables) -> Change? {
        let labels = EndpointLabels(
            cloud: site.cloud, region: site.region, cluster: site.cluster, availabilityZone: node.zone, node: node.name)
        let owner = Owner(
            labels: labels, head: -1, node: tables.nodeNumbers[node.name] ?? -1, startedAt: node.createdAt,
            kind: .node, store: store)
        let positions = node.addresses.map { EndpointTables.Position(.node, $0) }
        return differing(Change(uid: node.uid, owner: (owner, positions), podNetworks: node.podNetworks), tables)
    }

    /// What a service changes, nil where it changes nothing.
    func change(_ service: ClusterService, store: Int, _ tables: borrowing EndpointTables) -> Change? {
        let positions = Self.positions(of: service)
        guard !positions.isEmpty else { return removal(of: service.uid) }
        let labels = EndpointLabels(
            cluster: site.cluster, namespace: service.namespace, service: "\(service.namespace)/\(service.name)")
        let selector = service.externalAddresses.isEmpty ? [:] : service.selector
        let owner = Owner(
            labels: labels, head: -1, node: -1, startedAt: service.createdAt, kind: .service,
            labelSignature: LabelSignature(selector), store: store)
        return differing(Change(uid: service.uid, owner: (owner, positions)), tables)
    }

    /// Where clients dial a service. Its cluster addresses are its own; other addresses are those of its ports alone.
    private static func positions(of service: ClusterService) -> [EndpointTables.Position] {
        let external = Set(service.externalAddresses).subtracting(service.clusterAddresses)
        let positions =
            service.clusterAddresses.map { EndpointTables.Position(.service, $0) }
            + service.ports.filter { $0.nodePort != 0 }.map {
                EndpointTables.Position(nodePort: $0.nodePort, $0.transport)
            }
            + service.ports.prefix(ClusterIndex.maximumPositionsOfService).flatMap { port in
                external.prefix(ClusterIndex.maximumPositionsOfService / max(1, service.ports.count) + 1).map {
                    EndpointTables.Position(service: $0, port.number, port.transport)
                }
            }
        return Array(positions.prefix(ClusterIndex.maximumPositionsOfService))
    }

    /// What the end of an object changes, nil where it changes nothing.
    func removal(of uid: ObjectUID) -> Change? {
        owners[uid] == nil ? nil : Change(uid: uid, owner: nil)
    }

    /// A change, nil where everything stands like that already.
    private func differing(_ change: Change, _ tables: borrowing EndpointTables) -> Change? {
        guard let (owner, positions) = change.owner, let known = owners[change.uid],
            known.kind == owner.kind, known.labels.hasSameValues(as: owner.labels), known.node == owner.node,
            owner.node >= 0 || owner.kind == .service || owner.labels[.node].isEmpty,
            known.startedAt == owner.startedAt, known.labelSignature == owner.labelSignature,
            Set(tables.positions(ofOwner: known.head)) == Set(positions),
            podNetworks[change.uid] ?? [] == change.podNetworks,
            change.hostAddresses.isEmpty || hosts[owner.node]?.addresses == change.hostAddresses
        else { return change }
        return nil
    }

    /// What agents tell of a node's addresses, nil where it changes nothing.
    mutating func change(
        hostAddresses addresses: [IPAddress], ofNode name: String, _ tables: borrowing EndpointTables
    ) -> ClusterIndex.ChangeOfTables? {
        guard let node = tables.nodeNumbers[name], hosts[node] != nil else {
            told.keep(addresses, ofNode: name)
            return nil
        }
        guard !told.isKnown(addresses, ofNode: node) else { return nil }
        return { records, tables, _ in records.told.set(addresses, ofNode: node, &tables.hostAddresses) }
    }

    private mutating func workload(of pod: Pod) -> String {
        if knowsReplicaSets, let owner = pod.owner, owner.kind == "ReplicaSet", replicaSets[owner.uid] == nil {
            if waiting.count >= Self.maximumWaiting { waiting = [:] }
            waiting[owner.uid, default: [:]][pod.uid] = owner
        }
        return pod.isStatic ? Workload.name(ofStatic: pod) : Workload.name(of: pod.owner) { replicaSets[$0] }
    }

    // MARK: - Changes of the tables

    /// Puts a change into the tables.
    mutating func apply(_ change: Change, _ tables: inout EndpointTables, now: UInt32) {
        var starts: [EndpointTables.Position: UInt32] = [:]
        if let known = owners.removeValue(forKey: change.uid) {
            starts = tables.starts(ofOwner: known.head)
            count(known, -1)
            leaveBackends(change.uid, known, &tables)
            leave(known, keeping: Set(change.owner?.positions ?? []), &tables, now)
            for network in podNetworks.removeValue(forKey: change.uid) ?? [] {
                tables.podNetworks.remove(network, ofNode: known.node)
            }
        }
        guard case (var owner, let positions)? = change.owner else { return }
        if owner.kind != .service, !owner.labels[.node].isEmpty {
            owner.node = number(ofNode: owner.labels[.node], &tables)
        }
        if owner.kind == .pod {
            owner.labels = inZone(of: owner.node, owner.labels)
            if let controller = change.controller { owner.labels = labels(owner.labels, ofPodOf: controller) }
        }
        let newStart = starts.isEmpty ? owner.startedAt : max(owner.startedAt, change.seenAt ?? owner.startedAt)
        for position in positions where !tables.isCrowded(at: position) {
            owner.head = tables.insert(
                Candidate(
                    labels: LabelsReference(owner.labels), node: owner.node,
                    startedAt: starts[position] ?? newStart),
                at: position, nextOfOwner: owner.head)
        }
        owners[change.uid] = owner
        count(owner, 1)
        joinBackends(change.uid, owner, &tables)
        if owner.kind == .node { setZone(owner.labels[.availabilityZone], ofNode: owner.node, &tables) }
        if !change.podNetworks.isEmpty {
            podNetworks[change.uid] = change.podNetworks
            for network in change.podNetworks { tables.podNetworks.insert(network, ofNode: owner.node) }
        }
        if !change.hostAddresses.isEmpty, let host = hosts[owner.node], host.addresses != change.hostAddresses {
            hosts[owner.node]?.addresses = change.hostAddresses
            reconsidered.insert(owner.node)
        }
    }

    private mutating func joinBackends(_ uid: ObjectUID, _ owner: Owner, _ tables: inout EndpointTables) {
        guard !owner.labelSignature.isEmpty else { return }
        switch owner.kind {
        case .pod where backends.isEmpty: break
        case .pod:
            let places = backends.addPod(
                uid, inNamespace: owner.labels[.namespace], labels: owner.labelSignature, onNode: owner.node)
            for place in places { settle(place, &tables) }
        case .service:
            backends.addService(uid, inNamespace: owner.labels[.namespace], selecting: owner.labelSignature)
            let namespace = owner.labels.id(of: .namespace)
            for (pod, candidate) in owners
            where candidate.kind == .pod && candidate.labels.id(of: .namespace) == namespace {
                let place = backends.addPod(
                    pod, labels: candidate.labelSignature, onNode: candidate.node, behind: uid)
                if let place { settle(place, &tables) }
            }
        case .hostNetworkPod, .node, .standIn: break
        }
    }

    private mutating func leaveBackends(_ uid: ObjectUID, _ owner: Owner, _ tables: inout EndpointTables) {
        guard !owner.labelSignature.isEmpty else { return }
        switch owner.kind {
        case .pod where backends.isEmpty: break
        case .pod:
            let places = backends.removePod(
                uid, inNamespace: owner.labels[.namespace], labels: owner.labelSignature, onNode: owner.node)
            for place in places { settle(place, &tables) }
        case .service:
            backends.removeService(uid)
            tables.removeBackends(ofService: owner.labels)
        case .hostNetworkPod, .node, .standIn: break
        }
    }

    private func settle(_ place: ServiceBackends.Place, _ tables: inout EndpointTables) {
        guard let service = owners[place.service] else { return }
        let pod = backends.onlyPod(at: place).flatMap { owners[$0] }
        tables.setBackend(pod?.head, ofService: service.labels, onNode: place.node)
    }

    /// The number of a node, a new one where the name is new.
    private mutating func number(ofNode name: String, _ tables: inout EndpointTables) -> Int32 {
        if let number = tables.nodeNumbers[name] { return number }
        let labels = EndpointLabels(cloud: site.cloud, region: site.region, cluster: site.cluster, node: name)
        nodeLabels.append(labels)
        return tables.addNode(name, labels)
    }

    private mutating func count(_ owner: Owner, _ difference: Int) {
        counts[owner.kind, default: 0] += difference
        guard owner.node >= 0, owner.kind != .standIn else { return }
        var host = hosts[owner.node] ?? Host()
        if owner.kind == .node { host.nodes += difference } else { host.pods += difference }
        hosts[owner.node] = host.pods + host.nodes > 0 ? host : nil
        reconsidered.insert(owner.node)
    }

    /// Makes sure that the changes which come next do not have to wait until the owners are put in a larger table.
    mutating func makeRoom() { owners.reserveCapacity(owners.count + EndpointTables.room) }

    /// Takes an owner's places out of the tables: at once where it keeps the position, else after a week.
    private mutating func leave(
        _ owner: Owner, keeping positions: Set<EndpointTables.Position>, _ tables: inout EndpointTables, _ now: UInt32
    ) {
        retired.append(owner.labels)
        var slot = owner.head
        while slot >= 0 {
            let next = tables.next(ofOwnerOf: slot)
            let position = tables.position(of: slot)
            // A stand-in is not looked up any more once the Node object is there.
            if positions.contains(position) || owner.kind == .standIn && hosts[owner.node] != nil {
                tables.remove(slot)
            } else {
                tables.end(slot, at: now)
                tombstones.append(Tombstone(slot: slot, endedAt: now, labels: owner.labels))
                while let first = tables.firstEnded(at: position, now: now) {
                    tables.remove(first)
                    forgottenEarly[first, default: 0] += 1
                }
            }
            slot = next
        }
    }

    /// Labels with the zone of a node.
    private mutating func inZone(of node: Int32, _ labels: EndpointLabels) -> EndpointLabels {
        let zone = zone(ofNode: node)
        guard labels[.availabilityZone] != zone else { return labels }
        retired.append(labels)
        return labels.replacing(.availabilityZone, with: zone)
    }

    private func zone(ofNode node: Int32) -> String {
        node >= 0 ? nodeLabels[Int(node)][.availabilityZone] : ""
    }

    /// The labels of a node, which may have no number yet.
    private func labels(ofNode node: Int32, named name: String) -> EndpointLabels {
        node >= 0
            ? nodeLabels[Int(node)]
            : EndpointLabels(cloud: site.cloud, region: site.region, cluster: site.cluster, node: name)
    }

    /// Labels with the workload as it is known by now.
    private mutating func labels(_ labels: EndpointLabels, ofPodOf controller: ObjectOwner) -> EndpointLabels {
        let workload = Workload.name(of: controller) { replicaSets[$0] }
        guard labels[.workload] != workload else { return labels }
        retired.append(labels)
        return labels.replacing(.workload, with: workload)
    }

    private mutating func setZone(_ zone: String, ofNode node: Int32, _ tables: inout EndpointTables) {
        guard self.zone(ofNode: node) != zone else { return }
        let labels = nodeLabels[Int(node)]
        retired.append(labels)
        nodeLabels[Int(node)] = labels.replacing(.availabilityZone, with: zone)
        tables.relabel(node: node, nodeLabels[Int(node)])
        rezoned.insert(node)
    }

    /// Does what changes ask for beyond their own objects, once for all of them: tells pods the new zones of their nodes, and
    /// keeps the addresses of nodes that have pods and no Node object.
    mutating func settle(_ tables: inout EndpointTables, now: UInt32) {
        if rezoned.contains(where: { hosts[$0]?.pods ?? 0 > 0 }) {
            for (uid, owner) in owners where owner.kind == .pod && rezoned.contains(owner.node) {
                relabel(uid, inZone(of: owner.node, owner.labels), &tables)
            }
        }
        rezoned = []
        for node in reconsidered { reconsider(node, &tables, now) }
        reconsidered = []
    }

    private mutating func reconsider(_ node: Int32, _ tables: inout EndpointTables, _ now: UInt32) {
        if hosts[node] == nil {
            told.forget(node, named: nodeLabels[Int(node)][.node], &tables.hostAddresses)
        } else if let kept = told.takeKept(ofNode: nodeLabels[Int(node)][.node]) {
            told.set(kept, ofNode: node, &tables.hostAddresses)
        }
        let uid = ObjectUID("addresses of node \(node)")
        let addresses = hosts[node].map { $0.nodes == 0 ? $0.addresses : [] } ?? []
        guard !addresses.isEmpty || owners[uid] != nil else { return }
        let owner = Owner(
            labels: nodeLabels[Int(node)], head: -1, node: node, startedAt: 0, kind: .standIn, store: 0)
        let change = Change(
            uid: uid, owner: addresses.isEmpty ? nil : (owner, addresses.map { EndpointTables.Position(.node, $0) }))
        apply(change, &tables, now: now)
    }

    private mutating func relabel(_ uid: ObjectUID, _ labels: EndpointLabels, _ tables: inout EndpointTables) {
        guard let owner = owners[uid], owner.labels !== labels else { return }
        retired.append(owner.labels)
        owners[uid]?.labels = labels
        tables.relabel(owner.head, labels)
    }

    /// Forgets those that ended so long ago that nobody asks for them; of very many, some at a time.
    mutating func forgetEnded(_ tables: inout EndpointTables, now: UInt32, atMost maximum: Int = .max) {
        var forgotten = 0
        while forgotten < maximum, hasEnded(now: now), let oldest = tombstones.first {
            if let early = forgottenEarly[oldest.slot] {
                forgottenEarly[oldest.slot] = early > 1 ? early - 1 : nil
            } else {
                tables.remove(oldest.slot)
            }
            retired.append(oldest.labels)
            tombstones.removeFirst()
            forgotten += 1
        }
    }

    /// Whether ``forgetEnded(_:now:)`` has anything to do.
    func hasEnded(now: UInt32) -> Bool {
        guard let oldest = tombstones.first else { return false }
        let isTooMany = tombstones.count > ClusterIndex.maximumEnded
        return now > oldest.endedAt &+ (isTooMany ? ClusterIndex.secondsAfterTheEnd : ClusterIndex.secondsKept)
    }

    /// Hands over what the tables no longer refer to.
    mutating func takeRetired() -> [EndpointLabels] {
        defer { retired = [] }
        return retired
    }

    // MARK: - ReplicaSets

    /// Notes who owns a ReplicaSet; true where pods came before it whose workload ``resolveWaiting(_:_:)`` has to tell.
    mutating func note(_ replicaSet: ReplicaSet) -> Bool {
        replicaSets[replicaSet.uid] = .some(replicaSet.owner)
        return waiting[replicaSet.uid] != nil
    }

    /// Forgets a ReplicaSet; its pods go on being labelled by it.
    mutating func forget(replicaSet uid: ObjectUID) {
        replicaSets[uid] = nil
        waiting[uid] = nil
    }

    /// The ReplicaSets that are known.
    var replicaSetUIDs: [ObjectUID] { Array(replicaSets.keys) }

    /// Labels the pods that came before their ReplicaSet.
    mutating func resolveWaiting(_ replicaSet: ObjectUID, _ tables: inout EndpointTables) {
        for (pod, owner) in waiting.removeValue(forKey: replicaSet) ?? [:] {
            guard let known = owners[pod]?.labels else { continue }
            relabel(pod, labels(known, ofPodOf: owner), &tables)
        }
    }
}
