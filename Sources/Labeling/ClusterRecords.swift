// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import DequeModule
import FlowModel

/// The state of the clusters' objects that changes need and look-ups do not; it retains the labels that
/// ``EndpointTables`` refer to.
struct ClusterRecords: Sendable {
    /// The store that added an owner; stores do not remove each other's objects.
    struct Store: Equatable, Sendable {
        let number: Int
        /// The cluster whose objects the store has.
        let cluster: ClusterID
    }

    /// A pod, node or service.
    struct Owner: Sendable {
        enum Kind: Sendable {
            /// A pod outside the host network.
            case pod
            /// A pod in the host network, which has no address of its own.
            case hostNetworkPod
            case node
            /// The addresses of a node without a Node object, as its pods report them.
            case standIn
            case service
        }

        var labels: EndpointLabels
        /// Its first slot in the tables.
        var head: Int32
        /// Its node's number; -1 for a service, and for a pod without a node.
        var node: Int32
        var startedAt: UInt32
        let kind: Kind
        /// A pod's labels, or the selector of a service with external addresses.
        var labelSignature = LabelSignature()
        let store: Store

        var cluster: ClusterID { store.cluster }
    }

    /// The new state of an owner.
    struct Change: Sendable {
        /// The owner's identity among those of all clusters.
        let uid: ObjectUID
        /// Nil if the owner is gone or has no address.
        let owner: (owner: Owner, positions: [EndpointTables.Position])?
        /// A pod's controller; the pod's workload is looked up again when the change is applied.
        var controller: ObjectOwner?
        /// A node's blocks of pod addresses.
        var podNetworks: [IPPrefix] = []
        /// The addresses of the machine that a pod runs on.
        var hostAddresses: [IPAddress] = []
        /// The start time of positions that a known owner gains; nil for the owner's start time.
        var seenAt: UInt32?
    }

    /// The state of the machine behind a node's name.
    private struct Host: Sendable {
        /// Its addresses, from the last pod that reported any.
        var addresses: [IPAddress] = []
        /// The number of its pods, host-network pods included.
        var pods = 0
        /// The number of its Node objects.
        var nodes = 0
    }

    private struct Tombstone: Sendable {
        let slot: Int32
        let endedAt: UInt32
        let labels: EndpointLabels
    }

    private let sites: PerCluster<Site>
    /// The flag rules, whose conditions on pod labels are evaluated when a pod is added.
    var podFlags: ConnectionFlagRules
    /// By their identities among those of all clusters (``ObjectUID/qualified(by:)``).
    private(set) var owners: [ObjectUID: Owner] = [:]
    /// The labels of all numbered nodes, by number.
    private var nodeLabels: ContiguousArray<EndpointLabels> = []
    /// The clusters of all numbered nodes, by number.
    private var nodeClusters: ContiguousArray<ClusterID> = []
    /// The nodes that have pods or Node objects.
    private var hosts: [Int32: Host] = [:]
    /// The pod networks of Node objects.
    private var podNetworks: [ObjectUID: [IPPrefix]] = [:]
    private var told: PerCluster<ToldAddresses>
    private var backends: PerCluster<ServiceBackends>
    var replicaSets: PerCluster<ReplicaSets>
    /// Nodes whose pods need the node's new zone.
    private var rezoned: Set<Int32> = []
    /// Nodes whose stand-in may have to be added or removed.
    private var reconsidered: Set<Int32> = []
    /// Sorted by end.
    private var tombstones: Deque<Tombstone> = []
    /// For each slot, the number of tombstones whose candidates were removed early; they come before the slot's valid
    /// tombstone.
    private var forgottenEarly: [Int32: Int] = [:]
    /// Labels that are unreferenced once the changed tables are in place.
    private var retired: [EndpointLabels] = []
    private var counts: [Owner.Kind: Int] = [:]

    init(sites: [Site], podFlags: ConnectionFlagRules) {
        self.sites = PerCluster(sites)
        self.podFlags = podFlags
        told = self.sites.map { ToldAddresses(cloud: $0.cloud) }
        backends = self.sites.map { _ in ServiceBackends() }
        replicaSets = self.sites.map { _ in ReplicaSets() }
    }

    var statistics: ClusterIndex.Statistics {
        var statistics = ClusterIndex.Statistics()
        statistics.pods = counts[.pod, default: 0]
        statistics.nodes = counts[.node, default: 0]
        statistics.services = counts[.service, default: 0]
        statistics.replicaSets = replicaSets.all.reduce(0) { $0 + $1.count }
        return statistics
    }

    // MARK: - Computing changes

    /// Returns the change that a pod causes; nil if nothing changes.
    ///
    /// A pod's addresses count from when a watch reported them: the pod may have been admitted long before it got an
    /// address. For a pod from a list that time is unknown, and the pod's own start time counts. The same holds after a
    /// silence of the watch, but not before `heardAt`, the time of the last event before the silence.
    mutating func change(
        _ pod: Pod, store: Store, isListed: Bool, _ tables: borrowing EndpointTables, now: UInt32, heardAt: UInt32?
    ) -> Change? {
        let uid = pod.uid.qualified(by: store.cluster)
        // Skips a pod without addresses: its author can name any node, but the addresses come from kubelet.
        guard !pod.isTerminated, !pod.addresses.isEmpty || pod.hostNetwork && !pod.hostAddresses.isEmpty else {
            return removal(of: uid)
        }
        let key = NodeKey(cluster: store.cluster, name: pod.node)
        let node = tables.nodeNumbers[key] ?? -1
        let positions =
            pod.hostNetwork
            ? []
            : pod.addresses.map { EndpointTables.Position(.pod, $0) }
                + pod.secondaryAddresses.map { EndpointTables.Position(.claimingPod, $0) }
        var startedAt = isListed ? pod.startedAt : min(now, max(pod.startedAt, heardAt ?? now))
        if let known = owners[uid], tables.positions(ofOwner: known.head).contains(where: positions.contains) {
            startedAt = known.startedAt
        }
        let owner = Owner(
            labels: pod.hostNetwork ? labels(ofNode: node, key) : labels(of: pod, uid, on: node, in: store.cluster),
            head: -1, node: node, startedAt: startedAt, kind: pod.hostNetwork ? .hostNetworkPod : .pod,
            labelSignature: pod.labelSignature, store: store)
        let controller = pod.isStatic || pod.hostNetwork ? nil : pod.owner
        // A pod in the host network has its node's addresses.
        let hostAddresses = pod.hostNetwork && pod.hostAddresses.isEmpty ? pod.addresses : pod.hostAddresses
        return differing(
            Change(uid: uid, owner: (owner, positions), controller: controller, hostAddresses: hostAddresses),
            tables)
    }

    private mutating func labels(
        of pod: Pod, _ uid: ObjectUID, on node: Int32, in cluster: ClusterID
    ) -> EndpointLabels {
        let site = sites[cluster]
        return EndpointLabels(
            [
                .cloud: site.cloud, .region: site.region, .cluster: site.cluster, .availabilityZone: zone(ofNode: node),
                .node: pod.node, .namespace: pod.namespace, .pod: pod.name,
                .workload: workload(of: pod, uid, in: cluster),
            ], ofPod: pod.columnLabels, flags: podFlags.flags(ofPodWith: pod.labels))
    }

    /// Returns the change that a node causes; nil if nothing changes.
    func change(_ node: Node, store: Store, _ tables: borrowing EndpointTables) -> Change? {
        let site = sites[store.cluster]
        let labels = EndpointLabels([
            .cloud: site.cloud, .region: site.region, .cluster: site.cluster, .availabilityZone: node.zone,
            .node: node.name,
        ])
        let owner = Owner(
            labels: labels, head: -1,
            node: tables.nodeNumbers[NodeKey(cluster: store.cluster, name: node.name)] ?? -1,
            startedAt: node.createdAt, kind: .node, store: store)
        let positions = node.addresses.map { EndpointTables.Position(.node, $0) }
        return differing(
            Change(
                uid: node.uid.qualified(by: store.cluster), owner: (owner, positions), podNetworks: node.podNetworks),
            tables)
    }

    /// Returns the change that a service causes; nil if nothing changes.
    func change(_ service: ClusterService, store: Store, _ tables: borrowing EndpointTables) -> Change? {
        let uid = service.uid.qualified(by: store.cluster)
        let positions = Self.positions(of: service)
        guard !positions.isEmpty else { return removal(of: uid) }
        let labels = EndpointLabels([
            .cluster: sites[store.cluster].cluster, .namespace: service.namespace,
            .service: "\(service.namespace)/\(service.name)",
        ])
        let selector = service.externalAddresses.isEmpty ? [:] : service.selector
        let owner = Owner(
            labels: labels, head: -1, node: -1, startedAt: service.createdAt, kind: .service,
            labelSignature: LabelSignature(selector), store: store)
        return differing(Change(uid: uid, owner: (owner, positions)), tables)
    }

    /// Returns the positions of a service. Cluster addresses belong to the service on all ports, other addresses only
    /// on the service's ports.
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

    /// Returns the change that removes an object; nil if the object is unknown.
    func removal(of uid: ObjectUID) -> Change? {
        owners[uid] == nil ? nil : Change(uid: uid, owner: nil)
    }

    /// Returns a change; nil if the records and tables already match it.
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

    /// Returns the change that an agent's report of its node's addresses causes; nil if nothing changes.
    mutating func change(
        hostAddresses addresses: [IPAddress], of key: NodeKey, _ tables: borrowing EndpointTables
    ) -> ClusterIndex.ChangeOfTables? {
        let cluster = key.cluster
        guard let node = tables.nodeNumbers[key], hosts[node] != nil else {
            told[cluster].keep(addresses, ofNode: key.name)
            return nil
        }
        guard !told[cluster].isKnown(addresses, ofNode: node) else { return nil }
        return { records, tables, _ in
            records.told[cluster].set(addresses, ofNode: node, &tables.networks[cluster].hostAddresses)
        }
    }

    private mutating func workload(of pod: Pod, _ uid: ObjectUID, in cluster: ClusterID) -> String {
        replicaSets[cluster].keepWaiting(uid, for: pod.owner)
        return pod.isStatic ? Workload.name(ofStatic: pod) : Workload.name(of: pod.owner) { replicaSets[cluster][$0] }
    }

    // MARK: - Applying changes

    /// Applies a change to the records and the tables.
    mutating func apply(_ change: Change, _ tables: inout EndpointTables, now: UInt32) {
        var starts: [EndpointTables.Position: UInt32] = [:]
        if let known = owners.removeValue(forKey: change.uid) {
            starts = tables.starts(ofOwner: known.head)
            count(known, -1)
            leaveBackends(change.uid, known, &tables)
            leave(known, keeping: Set(change.owner?.positions ?? []), &tables, now)
            for network in podNetworks.removeValue(forKey: change.uid) ?? [] {
                tables.networks[known.cluster].podNetworks.remove(network, ofNode: known.node)
            }
        }
        guard case (var owner, let positions)? = change.owner else { return }
        if owner.kind != .service, !owner.labels[.node].isEmpty {
            owner.node = number(of: NodeKey(cluster: owner.cluster, name: owner.labels[.node]), &tables)
        }
        if owner.kind == .pod {
            owner.labels = inZone(of: owner.node, owner.labels)
            if let controller = change.controller {
                owner.labels = labels(owner.labels, ofPodOf: controller, in: owner.cluster)
            }
        }
        let newStart = starts.isEmpty ? owner.startedAt : max(owner.startedAt, change.seenAt ?? owner.startedAt)
        for position in positions where !tables.isCrowded(at: position, of: owner.cluster) {
            owner.head = tables.insert(
                Candidate(
                    labels: LabelsReference(owner.labels), node: owner.node,
                    startedAt: starts[position] ?? newStart, cluster: owner.cluster),
                at: position, nextOfOwner: owner.head)
        }
        owners[change.uid] = owner
        count(owner, 1)
        joinBackends(change.uid, owner, &tables)
        if owner.kind == .node { setZone(owner.labels[.availabilityZone], ofNode: owner.node, &tables) }
        if !change.podNetworks.isEmpty {
            podNetworks[change.uid] = change.podNetworks
            for network in change.podNetworks {
                tables.networks[owner.cluster].podNetworks.insert(network, ofNode: owner.node)
            }
        }
        if !change.hostAddresses.isEmpty, let host = hosts[owner.node], host.addresses != change.hostAddresses {
            hosts[owner.node]?.addresses = change.hostAddresses
            reconsidered.insert(owner.node)
        }
    }

    private mutating func joinBackends(_ uid: ObjectUID, _ owner: Owner, _ tables: inout EndpointTables) {
        guard !owner.labelSignature.isEmpty else { return }
        switch owner.kind {
        case .pod where backends[owner.cluster].isEmpty: break
        case .pod:
            let places = backends[owner.cluster].addPod(
                uid, inNamespace: owner.labels[.namespace], labels: owner.labelSignature, onNode: owner.node)
            for place in places { settle(place, &tables) }
        case .service:
            backends[owner.cluster].addService(
                uid, inNamespace: owner.labels[.namespace], selecting: owner.labelSignature)
            let namespace = owner.labels.id(of: .namespace)
            for (pod, candidate) in owners
            where candidate.kind == .pod && candidate.cluster == owner.cluster
                && candidate.labels.id(of: .namespace) == namespace
            {
                let place = backends[owner.cluster].addPod(
                    pod, labels: candidate.labelSignature, onNode: candidate.node, behind: uid)
                if let place { settle(place, &tables) }
            }
        case .hostNetworkPod, .node, .standIn: break
        }
    }

    private mutating func leaveBackends(_ uid: ObjectUID, _ owner: Owner, _ tables: inout EndpointTables) {
        guard !owner.labelSignature.isEmpty else { return }
        switch owner.kind {
        case .pod where backends[owner.cluster].isEmpty: break
        case .pod:
            let places = backends[owner.cluster].removePod(
                uid, inNamespace: owner.labels[.namespace], labels: owner.labelSignature, onNode: owner.node)
            for place in places { settle(place, &tables) }
        case .service:
            backends[owner.cluster].removeService(uid)
            tables.removeBackends(ofService: owner.labels)
        case .hostNetworkPod, .node, .standIn: break
        }
    }

    private func settle(_ place: ServiceBackends.Place, _ tables: inout EndpointTables) {
        guard let service = owners[place.service] else { return }
        let pod = backends[service.cluster].onlyPod(at: place).flatMap { owners[$0] }
        tables.setBackend(pod?.head, ofService: service.labels, onNode: place.node)
    }

    /// Returns the number of a node; a new node gets a new number.
    private mutating func number(of node: NodeKey, _ tables: inout EndpointTables) -> Int32 {
        if let number = tables.nodeNumbers[node] { return number }
        let labels = labels(ofNode: -1, node)
        nodeLabels.append(labels)
        nodeClusters.append(node.cluster)
        return tables.addNode(node, labels)
    }

    private mutating func count(_ owner: Owner, _ difference: Int) {
        counts[owner.kind, default: 0] += difference
        guard owner.node >= 0, owner.kind != .standIn else { return }
        var host = hosts[owner.node] ?? Host()
        if owner.kind == .node { host.nodes += difference } else { host.pods += difference }
        hosts[owner.node] = host.pods + host.nodes > 0 ? host : nil
        reconsidered.insert(owner.node)
    }

    /// Reserves room for the next changes, so that the dictionary of owners does not grow while they are applied.
    mutating func makeRoom() { owners.reserveCapacity(owners.count + EndpointTables.room) }

    /// Removes an owner's slots from the tables: at once at the positions that it keeps, else a week after its end.
    private mutating func leave(
        _ owner: Owner, keeping positions: Set<EndpointTables.Position>, _ tables: inout EndpointTables, _ now: UInt32
    ) {
        retired.append(owner.labels)
        var slot = owner.head
        while slot >= 0 {
            let next = tables.next(ofOwnerOf: slot)
            let position = tables.position(of: slot)
            // A stand-in is removed at once if its node is still known: the Node object replaces it.
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

    /// Returns labels with the zone of a node.
    private mutating func inZone(of node: Int32, _ labels: EndpointLabels) -> EndpointLabels {
        let zone = zone(ofNode: node)
        guard labels[.availabilityZone] != zone else { return labels }
        retired.append(labels)
        return labels.replacing(.availabilityZone, with: zone)
    }

    private func zone(ofNode node: Int32) -> String {
        node >= 0 ? nodeLabels[Int(node)][.availabilityZone] : ""
    }

    /// Returns the labels of a node, which may have no number yet.
    private func labels(ofNode node: Int32, _ key: NodeKey) -> EndpointLabels {
        let site = sites[key.cluster]
        return node >= 0
            ? nodeLabels[Int(node)]
            : EndpointLabels([.cloud: site.cloud, .region: site.region, .cluster: site.cluster, .node: key.name])
    }

    /// Returns labels with the workload as currently known.
    private mutating func labels(
        _ labels: EndpointLabels, ofPodOf controller: ObjectOwner, in cluster: ClusterID
    ) -> EndpointLabels {
        let workload = Workload.name(of: controller) { replicaSets[cluster][$0] }
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

    /// Applies the effects of changes on other objects, once for all changes: relabels the pods of nodes whose zone
    /// changed, and keeps the addresses of nodes that have pods but no Node object.
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
        let (cluster, name) = (nodeClusters[Int(node)], nodeLabels[Int(node)][.node])
        if hosts[node] == nil {
            told[cluster].forget(node, named: name, &tables.networks[cluster].hostAddresses)
        } else if let kept = told[cluster].takeKept(ofNode: name) {
            told[cluster].set(kept, ofNode: node, &tables.networks[cluster].hostAddresses)
        }
        let uid = ObjectUID("addresses of node \(node)")
        let addresses = hosts[node].map { $0.nodes == 0 ? $0.addresses : [] } ?? []
        guard !addresses.isEmpty || owners[uid] != nil else { return }
        let owner = Owner(
            labels: nodeLabels[Int(node)], head: -1, node: node, startedAt: 0, kind: .standIn,
            store: Store(number: 0, cluster: cluster))
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

    /// Forgets candidates that ended too long ago to be looked up; at most `maximum` at a time.
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

    /// Whether ``forgetEnded(_:now:atMost:)`` has candidates to forget.
    func hasEnded(now: UInt32) -> Bool {
        guard let oldest = tombstones.first else { return false }
        let isTooMany = tombstones.count > ClusterIndex.maximumEnded
        return now > oldest.endedAt &+ (isTooMany ? ClusterIndex.secondsAfterTheEnd : ClusterIndex.secondsKept)
    }

    /// Returns the labels that the tables no longer refer to, and forgets them.
    mutating func takeRetired() -> [EndpointLabels] {
        defer { retired = [] }
        return retired
    }

    /// Relabels the pods that were added before their ReplicaSet.
    mutating func relabelPods(
        waitingFor replicaSet: ObjectUID, in cluster: ClusterID, _ tables: inout EndpointTables
    ) {
        for (pod, controller) in replicaSets[cluster].takeWaiting(for: replicaSet) {
            guard let known = owners[pod]?.labels else { continue }
            relabel(pod, labels(known, ofPodOf: controller, in: cluster), &tables)
        }
    }
}
