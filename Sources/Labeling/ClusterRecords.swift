// SPDX-License-Identifier: Apache-2.0

import DequeModule
import FlowModel
import Kubernetes

/// What is known of a cluster's objects beyond what look-ups need; keeps the labels that ``EndpointTables`` refer to.
struct ClusterRecords: Sendable {
    /// A pod, node or service with addresses.
    struct Owner: Sendable {
        var labels: EndpointLabels
        /// Its first place in the tables.
        var head: Int32
        /// Its node's number; -1 for a service, and for a pod that is on none.
        var node: Int32
        var startedAt: UInt32
        let kind: EndpointTables.Kind
        /// Which store has it; stores know nothing of each other's objects.
        let store: Int
    }

    /// How an owner is to stand.
    struct Change: Sendable {
        let uid: ObjectUID
        /// Nil where it is gone or has no address of its own.
        let owner: (owner: Owner, addresses: [IPAddress])?
        /// What controls a pod: its workload is told anew when the change is made.
        var controller: ObjectOwner?
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
    private var zones: [Int32: String] = [:]
    /// How many pods each node has; it has no entry where it has none.
    private var podsOfNodes: [Int32: Int] = [:]
    /// Nodes whose pods have their zone to be told.
    private var rezoned: Set<Int32> = []
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
    private var counts: [EndpointTables.Kind: Int] = [:]

    init(site: Site, podFlags: ConnectionFlagRules) {
        self.site = site
        self.podFlags = podFlags
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
    mutating func change(_ pod: Pod, store: Int, _ tables: borrowing EndpointTables) -> Change? {
        // A host-network pod's address is its node's, and a terminated pod's is free again.
        guard !pod.hostNetwork, !pod.isTerminated, !pod.addresses.isEmpty else { return removal(of: pod.uid) }
        let node = tables.nodeNumbers[pod.node] ?? -1
        let labels = EndpointLabels(
            cloud: site.cloud, region: site.region, cluster: site.cluster, cell: pod.cell,
            availabilityZone: zones[node] ?? "", node: pod.node, instanceID: pod.instanceID, namespace: pod.namespace,
            pod: pod.name, app: pod.app, workload: workload(of: pod), flags: podFlags.flags(ofPodWith: pod.labels))
        var change = change(
            pod.uid,
            Owner(labels: labels, head: -1, node: node, startedAt: pod.startedAt, kind: .pod, store: store),
            pod.addresses, tables)
        change?.controller = pod.isStatic ? nil : pod.owner
        return change
    }

    /// What a node changes, nil where it changes nothing.
    func change(_ node: Node, store: Int, _ tables: borrowing EndpointTables) -> Change? {
        let labels = EndpointLabels(
            cloud: site.cloud, region: site.region, cluster: site.cluster, availabilityZone: node.zone, node: node.name)
        return change(
            node.uid,
            Owner(
                labels: labels, head: -1, node: tables.nodeNumbers[node.name] ?? -1, startedAt: node.createdAt,
                kind: .node, store: store), node.addresses, tables)
    }

    /// What a service changes, nil where it changes nothing.
    func change(_ service: ClusterService, store: Int, _ tables: borrowing EndpointTables) -> Change? {
        guard !service.clusterAddresses.isEmpty else { return removal(of: service.uid) }
        let labels = EndpointLabels(cluster: site.cluster, service: "\(service.namespace)/\(service.name)")
        return change(
            service.uid,
            Owner(
                labels: labels, head: -1, node: -1, startedAt: service.createdAt, kind: .service, store: store),
            service.clusterAddresses, tables)
    }

    /// What the end of an object changes, nil where it changes nothing.
    func removal(of uid: ObjectUID) -> Change? {
        owners[uid] == nil ? nil : Change(uid: uid, owner: nil)
    }

    private func change(
        _ uid: ObjectUID, _ owner: Owner, _ addresses: [IPAddress], _ tables: borrowing EndpointTables
    ) -> Change? {
        if let known = owners[uid], known.labels.hasSameValues(as: owner.labels), known.node == owner.node,
            owner.node >= 0 || owner.kind == .service || owner.labels[.node].isEmpty,
            known.startedAt == owner.startedAt,
            Set(tables.addresses(ofOwner: known.head)) == Set(addresses)
        {
            return nil
        }
        return Change(uid: uid, owner: (owner, addresses))
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
        if let known = owners.removeValue(forKey: change.uid) {
            count(known, -1)
            leave(known, keeping: change.owner?.addresses ?? [], &tables, now)
        }
        guard case (var owner, let addresses)? = change.owner else { return }
        if owner.kind != .service, !owner.labels[.node].isEmpty {
            owner.node = tables.number(ofNode: owner.labels[.node])
        }
        if owner.kind == .pod {
            owner.labels = inZone(of: owner.node, owner.labels)
            if let controller = change.controller { owner.labels = labels(owner.labels, ofPodOf: controller) }
        }
        for address in addresses {
            owner.head = tables.insert(
                EndpointTables.Candidate(
                    labels: LabelsReference(owner.labels), node: owner.node, startedAt: owner.startedAt,
                    kind: owner.kind),
                at: address, nextOfOwner: owner.head)
        }
        owners[change.uid] = owner
        count(owner, 1)
        if owner.kind == .node { setZone(owner.labels[.availabilityZone], ofNode: owner.node) }
    }

    private mutating func count(_ owner: Owner, _ difference: Int) {
        counts[owner.kind, default: 0] += difference
        guard owner.kind == .pod else { return }
        let pods = podsOfNodes[owner.node, default: 0] + difference
        podsOfNodes[owner.node] = pods > 0 ? pods : nil
    }

    /// Makes sure that the changes which come next do not have to wait until the owners are put in a larger table.
    mutating func makeRoom() { owners.reserveCapacity(owners.count + EndpointTables.room) }

    /// Takes an owner's places out of the tables: at once where it keeps the address, else when nobody asks any more.
    private mutating func leave(
        _ owner: Owner, keeping addresses: [IPAddress], _ tables: inout EndpointTables, _ now: UInt32
    ) {
        retired.append(owner.labels)
        var slot = owner.head
        while slot >= 0 {
            let next = tables.next(ofOwnerOf: slot)
            let address = tables.address(of: slot)
            if addresses.contains(address) {
                tables.remove(slot)
            } else {
                tables.end(slot, at: now)
                tombstones.append(Tombstone(slot: slot, endedAt: now, labels: owner.labels))
                while let first = tables.firstEnded(at: address, of: owner.kind, now: now) {
                    tables.remove(first)
                    forgottenEarly[first, default: 0] += 1
                }
            }
            slot = next
        }
    }

    /// Labels with the zone of a node.
    private mutating func inZone(of node: Int32, _ labels: EndpointLabels) -> EndpointLabels {
        let zone = zones[node] ?? ""
        guard labels[.availabilityZone] != zone else { return labels }
        retired.append(labels)
        return labels.replacing(.availabilityZone, with: zone)
    }

    /// Labels with the workload as it is known by now.
    private mutating func labels(_ labels: EndpointLabels, ofPodOf controller: ObjectOwner) -> EndpointLabels {
        let workload = Workload.name(of: controller) { replicaSets[$0] }
        guard labels[.workload] != workload else { return labels }
        retired.append(labels)
        return labels.replacing(.workload, with: workload)
    }

    private mutating func setZone(_ zone: String, ofNode node: Int32) {
        guard zones[node] ?? "" != zone else { return }
        zones[node] = zone
        if podsOfNodes[node] != nil { rezoned.insert(node) }
    }

    /// Does what changes ask for beyond their own objects, once for all of them: tells pods the new zones of their nodes.
    mutating func settle(_ tables: inout EndpointTables) {
        guard !rezoned.isEmpty else { return }
        for (uid, owner) in owners where owner.kind == .pod && rezoned.contains(owner.node) {
            relabel(uid, inZone(of: owner.node, owner.labels), &tables)
        }
        rezoned = []
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
