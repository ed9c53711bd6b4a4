// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
import Synchronization

extension ClusterIndex {
    /// Returns a store that keeps a cluster's pods in the index up to date. Stores are independent: a store never removes
    /// the pods of another.
    public func podStore(of cluster: ClusterID = .first) -> some ObjectStore<Pod> {
        ClusterStore(index: self, cluster: cluster) { records, pod, context, tables in
            records.change(
                pod, store: context.store, isListed: context.isListed, tables, now: context.now,
                heardAt: context.heardAt)
        } uid: {
            $0.uid
        } didHear: {
            $0.networks[cluster].hearOfPods(at: $1)
        }
    }

    /// Returns a store that keeps a cluster's nodes in the index up to date.
    public func nodeStore(of cluster: ClusterID = .first) -> some ObjectStore<Node> {
        ClusterStore(index: self, cluster: cluster) { records, node, context, tables in
            records.change(node, store: context.store, tables)
        } uid: {
            $0.uid
        }
    }

    /// Returns a store that keeps a cluster's services in the index up to date.
    public func serviceStore(of cluster: ClusterID = .first) -> some ObjectStore<ClusterService> {
        ClusterStore(index: self, cluster: cluster) { records, service, context, tables in
            records.change(service, store: context.store, tables)
        } uid: {
            $0.uid
        }
    }

    /// Returns a store that keeps a cluster's ReplicaSets in the index up to date.
    public func replicaSetStore(of cluster: ClusterID = .first) -> some ObjectStore<ReplicaSet> {
        ReplicaSetStore(index: self, cluster: cluster)
    }

    /// Adds the nodes and pods of a cluster's inventory to the index permanently.
    public func add(_ inventory: Inventory, to cluster: ClusterID = .first) {
        replaceAll(in: nodeStore(of: cluster), with: inventory.nodes)
        replaceAll(in: podStore(of: cluster), with: inventory.pods)
    }

    private func replaceAll<Object>(in store: some ObjectStore<Object>, with objects: [Object]) {
        store.beginReplacement()
        for object in objects { store.add(object) }
        store.commitReplacement()
    }
}

private let storeNumbers = Atomic(0)

/// The times of a watch's last event and of its last silence.
private struct Hearing: Sendable {
    /// Seconds within which a watch that resumes after a silence replays the changes made during it.
    private static let secondsOfReplay: UInt32 = 30
    /// Seconds between updates of the tables with the last event's time: each update makes look-ups wait.
    private static let secondsBetweenNotes: UInt32 = 15

    private var last: UInt32?
    private var lastNote: UInt32 = 0
    private var silence: (from: UInt32, to: UInt32)?

    /// Records an event. After a silence, returns the silence's start, because the event may have happened at any time
    /// since.
    mutating func hear(at now: UInt32) -> UInt32? {
        if let last, now > last &+ ClusterIndex.secondsBetweenSigns { silence = (last, now) }
        last = now
        if let silence, now > silence.to &+ Self.secondsOfReplay { self.silence = nil }
        return silence?.from
    }

    /// Whether the tables are due to be updated with the last event's time.
    mutating func isNoteDue(at now: UInt32) -> Bool {
        guard now >= lastNote &+ Self.secondsBetweenNotes else { return false }
        lastNote = now
        return true
    }
}

/// A store of objects that have addresses.
private final class ClusterStore<Object: Sendable>: ObjectStore {
    /// Maximum number of changes applied at once; it bounds how long look-ups wait.
    private static var changesAtOnce: Int { 64 }

    private struct Replacement: Sendable {
        var seen: Set<ObjectUID> = []
        var changes: [ClusterRecords.Change] = []
    }

    private let index: ClusterIndex
    private let store: ClusterRecords.Store
    /// How an object was reported.
    struct Context: Sendable {
        let store: ClusterRecords.Store
        /// Whether the object comes from a list; otherwise a watch reported it.
        let isListed: Bool
        /// In seconds since the Unix epoch.
        let now: UInt32
        /// The earliest time at which the change may have happened, after a silence; otherwise nil.
        var heardAt: UInt32?
    }

    typealias ChangeOfObject =
        @Sendable (inout ClusterRecords, Object, Context, borrowing EndpointTables) -> ClusterRecords.Change?

    private let change: ChangeOfObject
    private let uidInCluster: @Sendable (Object) -> ObjectUID
    /// Called when a list is in the tables, and from time to time while the watch reports changes or bookmarks.
    private let didHear: (@Sendable (inout EndpointTables, _ now: UInt32) -> Void)?
    private let hearing = Mutex(Hearing())
    private let replacement = Mutex(Replacement())

    init(
        index: ClusterIndex, cluster: ClusterID,
        change: @escaping ChangeOfObject,
        uid: @escaping @Sendable (Object) -> ObjectUID,
        didHear: (@Sendable (inout EndpointTables, _ now: UInt32) -> Void)? = nil
    ) {
        self.index = index
        store = ClusterRecords.Store(
            number: storeNumbers.add(1, ordering: .relaxed).newValue, cluster: cluster)
        self.change = change
        uidInCluster = uid
        self.didHear = didHear
    }

    private func uid(_ object: Object) -> ObjectUID { uidInCluster(object).qualified(by: store.cluster) }

    func beginReplacement() { replacement.withLock { $0 = Replacement() } }

    func abandonReplacement() { replacement.withLock { $0 = Replacement() } }

    func add(_ object: Object) {
        let uid = uid(object)
        index.change { records, tables, now in
            let change = change(&records, object, Context(store: store, isListed: true, now: now), tables)
            replacement.withLock { replacement in
                replacement.seen.insert(uid)
                if let change { replacement.changes.append(change) }
            }
            return nil
        }
    }

    func commitReplacement() {
        let replacement = replacement.withLock { replacement in
            let complete = replacement
            replacement = Replacement()
            return complete
        }
        index.replace { records, tables, now in
            for (uid, owner) in records.owners where owner.store == store && !replacement.seen.contains(uid) {
                records.apply(ClusterRecords.Change(uid: uid, owner: nil), &tables, now: now)
            }
            for change in replacement.changes { records.apply(change, &tables, now: now) }
            _ = hearing.withLock { $0.hear(at: now) }
            didHear?(&tables, now)
        }
    }

    func apply(_ changes: [ObjectChange<Object>]) {
        var rest = changes[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.changesAtOnce)
            rest = rest.dropFirst(some.count)
            for part in consecutive(some) { applyAtOnce(part) }
        }
        index.change { _, _, now in
            let isDue = hearing.withLock { hearing in
                _ = hearing.hear(at: now)
                return hearing.isNoteDue(at: now)
            }
            guard isDue, let didHear else { return nil }
            return { _, tables, now in didHear(&tables, now) }
        }
    }

    /// Splits changes so that no part has an object twice: a change is computed from the object's current state.
    private func consecutive(_ changes: ArraySlice<ObjectChange<Object>>) -> [[ObjectChange<Object>]] {
        var parts: [[ObjectChange<Object>]] = [[]]
        var seen: Set<ObjectUID> = []
        for change in changes {
            let object =
                switch change {
                case .updated(let object), .deleted(let object): object
                }
            if !seen.insert(uid(object)).inserted {
                parts.append([])
                seen = [uid(object)]
            }
            parts[parts.count - 1].append(change)
        }
        return parts
    }

    private func applyAtOnce(_ changes: [ObjectChange<Object>]) {
        index.change { records, tables, now in
            let heardAt = hearing.withLock { $0.hear(at: now) }
            let context = Context(store: store, isListed: false, now: now, heardAt: heardAt)
            var due: [ClusterRecords.Change] = []
            for change in changes {
                switch change {
                case .updated(let object):
                    if var change = self.change(&records, object, context, tables) {
                        change.seenAt = heardAt ?? now
                        due.append(change)
                    }
                case .deleted(let object):
                    if let change = records.removal(of: uid(object)) { due.append(change) }
                }
            }
            guard !due.isEmpty else { return nil }
            return { [due] records, tables, now in
                for change in due { records.apply(change, &tables, now: now) }
            }
        }
    }
}

/// A store of ReplicaSets. They have no addresses, but determine the workload of pods.
private final class ReplicaSetStore: ObjectStore {
    private let index: ClusterIndex
    private let cluster: ClusterID
    private let replacement = Mutex<[ReplicaSet]>([])

    init(index: ClusterIndex, cluster: ClusterID) {
        self.index = index
        self.cluster = cluster
        index.change { records, _, _ in
            records.replicaSets[cluster].isWatched = true
            return nil
        }
    }

    func beginReplacement() { replacement.withLock { $0 = [] } }

    func abandonReplacement() { replacement.withLock { $0 = [] } }

    func add(_ object: ReplicaSet) { replacement.withLock { $0.append(object) } }

    func commitReplacement() {
        let replicaSets = replacement.withLock { replacement in
            defer { replacement = [] }
            return replacement
        }
        let seen = Set(replicaSets.map(\.uid))
        index.change { records, _, _ in
            records.replicaSets[cluster].removeAll(except: seen)
            return insert(replicaSets, &records)
        }
    }

    func apply(_ changes: [ObjectChange<ReplicaSet>]) {
        index.change { records, _, _ in
            var updated: [ReplicaSet] = []
            for change in changes {
                switch change {
                case .updated(let replicaSet): updated.append(replicaSet)
                case .deleted(let replicaSet): records.replicaSets[cluster].remove(replicaSet.uid)
                }
            }
            return insert(updated, &records)
        }
    }

    private func insert(
        _ replicaSets: [ReplicaSet], _ records: inout ClusterRecords
    ) -> ClusterIndex.ChangeOfTables? {
        let awaited = replicaSets.filter { records.replicaSets[cluster].insert($0) }.map(\.uid)
        guard !awaited.isEmpty else { return nil }
        return { [cluster] records, tables, _ in
            for uid in awaited { records.relabelPods(waitingFor: uid, in: cluster, &tables) }
        }
    }
}
