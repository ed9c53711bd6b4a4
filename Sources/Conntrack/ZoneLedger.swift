// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Counts a connection once if it has entries in several conntrack zones.
///
/// Some CNIs (OVN-Kubernetes and OpenShift, Antrea, Kube-OVN) look a packet up in one zone at each of its hops through
/// a node. The connection then has an entry in every zone, each with all of its packets. For every zone, the ledger
/// adds up what was read from the connection's entry there, and reports the largest of these sums. The result therefore
/// does not depend on which zone is read first, on whether one entry ends before the others, or on whether a zone sees
/// only some of the packets.
///
/// Two entries belong to one connection if packets leave one with the tuple with which they arrive at the other: both
/// have the same original tuple, or the original tuple of one is that of the other after translation (the mirror of the
/// other's reply tuple). A connection is reported with the tuples of the entry that translates its destination, or else
/// of one that translates its source: these name the service that was dialled as well as the peer that responds. It is
/// reported with the zone of that entry, or else of the first entry seen, so that all of its reports have one zone.
///
/// A zone that first sees a connection's reply, because its entry was deleted or a hop changed to this zone, takes the
/// replies for the original direction (`net.netfilter.nf_conntrack_tcp_loose`). Such an entry is turned before its
/// counts are added. The direction is that of the entry that translates, or else of the first entry seen.
///
/// Until the first entry outside the default zone appears, nothing is remembered and every entry is reported as it is.
struct ZoneLedger {
    /// The limit on remembered connections, about 300 bytes each. Connections beyond it are reported once for every
    /// zone.
    static let maximumConnections = 1 << 16
    /// Seconds without a packet after which a connection is forgotten, but not before its entries had three collections
    /// to show a packet. If they count again later, they start over together.
    static let idleSeconds: UInt32 = 60
    /// Rounds without an entry of a connection's direction after which an entry of the opposite direction belongs to a
    /// new connection.
    private static let directionRounds: UInt32 = 3
    /// The limit on remembered tuples of one connection: two for each hop that translates, and some outdated ones.
    private static let maximumViews = 16

    /// The count of a connection's entry in one zone, kept as its lag behind the other zones.
    private struct Share {
        let zone: ConntrackZone
        /// What other zones have reported and this zone has not counted yet.
        var originalLag: FlowCounters
        var replyLag: FlowCounters

        /// Returns what this zone has counted beyond all others.
        mutating func lead(_ flow: Flow) -> (original: FlowCounters, reply: FlowCounters) {
            (originalLag.lead(of: flow.originalCounters), replyLag.lead(of: flow.replyCounters))
        }

        mutating func turn() { swap(&originalLag, &replyLag) }
    }

    /// When to read an entry that a dump shows.
    enum Reading {
        /// Immediately.
        case now
        /// After the dump has ended: an entry that the dump shows later may translate addresses and so link this entry
        /// to others.
        case afterDump
        /// In the next collection: an entry that links this one to others may have been created after the dump had
        /// passed its place, and the next dump shows it. Meanwhile the kernel keeps counting.
        case nextCollection
    }

    /// The tuple that a connection's packets carry at one point of their path, up to its direction.
    private struct View {
        /// The same for a tuple and its mirror. Among 65,000 tuples, two hashes are equal once in nine billion times.
        let hash: UInt64
        /// Differs between a tuple and its mirror.
        let isMirrored: Bool
        /// Whether the tuple is its own mirror: a pod that calls itself through a service.
        let isSymmetric: Bool

        /// Without ports, a tuple and its mirror may be two connections, such as two pings.
        init(_ transport: TransportProtocol, _ tuple: FlowTuple) {
            let mirrored = tuple.mirrored
            let hasPorts = tuple.sourcePort != 0 || tuple.destinationPort != 0
            isMirrored = hasPorts && (tuple.source, tuple.sourcePort) > (mirrored.source, mirrored.sourcePort)
            isSymmetric = tuple == mirrored
            var hasher = Hasher()
            hasher.combine(transport)
            hasher.combine(isMirrored ? mirrored : tuple)
            hash = UInt64(bitPattern: Int64(hasher.finalize()))
        }
    }

    /// The connection that a view belongs to.
    private struct Membership {
        var connection: UInt32
        /// ``View/isMirrored`` of the tuple that the connection's original direction carries.
        var isMirrored: Bool
    }

    private struct Connection {
        var shares: [Share] = []
        /// The round in which the connection was first noticed.
        var firstRound: UInt32
        /// What was reported in this round and, at most, the previous one. A zone whose entry appears now starts with
        /// it as its lag.
        var original = FlowCounters()
        var reply = FlowCounters()
        var reportedSince: UInt32
        var lastSeen: UInt32
        var lastRound: UInt32
        /// The last round in which an entry of the connection's direction was seen.
        var lastDirectRound: UInt32
        /// The tuples to report, if an entry translates addresses.
        var translated: (original: FlowTuple, reply: FlowTuple)?
        /// The zone to report: that of the entry of ``translated``, or else of the first entry seen.
        var zone: UInt16
        /// Hashes of the views with which the connection's packets arrive at a zone or leave it, the latest last.
        var views: [UInt64]

        /// Forgets what was reported in rounds that are too old for the lag of a new entry.
        mutating func forgetReports(before round: UInt32) {
            if round &- reportedSince >= 2 {
                original = FlowCounters()
                reply = FlowCounters()
            }
            if original.isZero && reply.isZero { reportedSince = round }
        }

        mutating func turn() {
            swap(&original, &reply)
            for index in shares.indices { shares[index].turn() }
            translated = translated.map { ($0.reply, $0.original) }
        }
    }

    /// True once an entry outside the default zone has been seen.
    private(set) var isActive = false
    /// Connections found in more than one zone.
    private(set) var mergedConnections: UInt64 = 0
    /// The two zones of the connection most recently found in several.
    private(set) var example: (ConntrackZone, ConntrackZone)?
    /// Entries reported as they are because too many connections are remembered.
    private(set) var unmergedEntries: UInt64 = 0

    /// The number of remembered tuples.
    var rememberedViews: Int { connectionOfView.count }

    private var connections: [UInt32: Connection] = [:]
    private var connectionOfView: [UInt64: Membership] = [:]
    /// Which tuple is translated into which, in both directions. Only one tuple at a time is translated into a given
    /// tuple; if a second one is, the connection of the first is over.
    private var leavingOfArriving: [UInt64: UInt64] = [:]
    private var arrivingOfLeaving: [UInt64: UInt64] = [:]
    private var nextConnection: UInt32 = 0
    private var round: UInt32 = 0
    private var second: UInt32 = 0
    private var lastSweep: UInt32 = 0

    /// Starts a collection.
    ///
    /// - Parameter second: The time in seconds, of any clock that only moves forward.
    mutating func beginRound(second: UInt32) {
        round &+= 1
        self.second = second
        guard second &- lastSweep >= Self.idleSeconds / 3 else { return }
        lastSweep = second
        for (number, connection) in connections
        where second &- connection.lastSeen > Self.idleSeconds && round &- connection.lastRound >= 3 {
            for view in connection.views { forget(view, of: number) }
            connections[number] = nil
        }
    }

    /// Records an entry before it is read: whether it is outside the default zone, and which tuples it links.
    ///
    /// - Returns: When to read the entry, so that all entries of its connection have been recorded by then.
    mutating func notice(_ entry: ConntrackEntry) -> Reading {
        guard isActive || entry.zone != .default else { return .now }
        isActive = true
        guard let (number, _) = connection(of: entry.flow), let first = connections[number]?.firstRound else {
            return .now
        }
        connections[number]?.lastRound = round
        switch round &- first {
        case 0: return .nextCollection
        case 1: return .afterDump
        default: return .now
        }
    }

    /// Returns the flow to report for an entry that was read; its counters are zero if other zones have reported all of
    /// it.
    ///
    /// - Parameter second: The time in seconds, of the same clock as for ``beginRound(second:)``.
    mutating func report(_ entry: ConntrackEntry, second: UInt32) -> Flow {
        guard isActive || entry.zone != .default else { return entry.flow }
        isActive = true
        self.second = second
        guard let (number, directed) = connection(of: entry.flow),
            var connection = connections.removeValue(forKey: number)
        else {
            unmergedEntries += 1
            return entry.flow
        }
        var flow = directed
        connection.forgetReports(before: round)
        connection.lastSeen = second
        connection.lastRound = round
        let own = share(of: entry.zone, in: &connection)
        let (original, reply) = connection.shares[own].lead(flow)
        connection.original += original
        connection.reply += reply
        for index in connection.shares.indices where index != own {
            connection.shares[index].originalLag += original
            connection.shares[index].replyLag += reply
        }
        if let translated = connection.translated, flow.isHop(of: translated) {
            (flow.original, flow.reply) = translated
        }
        flow.zone = connection.zone
        (flow.originalCounters, flow.replyCounters) = (original, reply)
        connections[number] = connection
        return flow
    }

    private mutating func share(of zone: ConntrackZone, in connection: inout Connection) -> Int {
        if let index = connection.shares.firstIndex(where: { $0.zone == zone }) { return index }
        if let other = connection.shares.last {
            if connection.shares.count == 1 { mergedConnections += 1 }
            example = (other.zone, zone)
        }
        connection.shares.append(Share(zone: zone, originalLag: connection.original, replyLag: connection.reply))
        return connection.shares.count - 1
    }

    /// Returns the number of a flow's connection, which is created if there is none, and the flow in the connection's
    /// direction; nil if too many are remembered.
    private mutating func connection(of flow: Flow) -> (number: UInt32, flow: Flow)? {
        let arriving = View(flow.transport, flow.original)
        guard flow.isTranslated else {
            guard let known = connectionOfView[arriving.hash] else {
                return makeConnection([arriving], in: flow.zone).map { ($0, flow) }
            }
            if known.isMirrored == arriving.isMirrored || arriving.isSymmetric {
                connections[known.connection]?.lastDirectRound = round
            } else if let last = connections[known.connection]?.lastDirectRound, round &- last < Self.directionRounds {
                return (known.connection, flow.turned)
            } else {
                // The peer has opened a connection of its own with the same ports.
                turn(known.connection)
                connections[known.connection]?.translated = nil
                connections[known.connection]?.lastDirectRound = round
            }
            return (known.connection, flow)
        }
        let leaving = View(flow.transport, flow.reply.mirrored)
        replaceTranslation(of: arriving.hash, to: leaving.hash)
        turnIfNeeded(arriving, leaving)
        let number: UInt32
        switch (connectionOfView[arriving.hash]?.connection, connectionOfView[leaving.hash]?.connection) {
        case (nil, nil):
            guard let made = makeConnection([arriving, leaving], in: flow.zone) else {
                leavingOfArriving[arriving.hash] = nil
                arrivingOfLeaving[leaving.hash] = nil
                return nil
            }
            number = made
        case (let known?, nil):
            add(leaving, to: known)
            number = known
        case (nil, let known?):
            add(arriving, to: known)
            number = known
        case (let known?, let other?):
            if known != other { merge(other, into: known) }
            number = known
        }
        let isDestination = flow.reply.source != flow.original.destination
        let isOutdated = connections[number]?.translated.map { !flow.isHop(of: $0) } ?? true
        if isDestination || isOutdated {
            connections[number]?.translated = (flow.original, flow.reply)
            connections[number]?.zone = flow.zone
        }
        connections[number]?.lastDirectRound = round
        return (number, flow)
    }

    /// Turns the connections of an entry that translates, unless one of their views has the entry's direction already:
    /// a pod that calls itself through a service shows a tuple and its mirror at two hops of one direction.
    private mutating func turnIfNeeded(_ arriving: View, _ leaving: View) {
        let known = [arriving, leaving].compactMap { view in
            connectionOfView[view.hash].map {
                (number: $0.connection, isTurned: $0.isMirrored != view.isMirrored, view)
            }
        }
        for number in Set(known.map(\.number)) {
            let views = known.filter { $0.number == number }
            if views.allSatisfy({ $0.isTurned && !$0.2.isSymmetric }) { turn(number) }
        }
    }

    /// Takes what was the reply direction of a connection for its original direction.
    private mutating func turn(_ number: UInt32) {
        connections[number]?.turn()
        for view in connections[number]?.views ?? [] { connectionOfView[view]?.isMirrored.toggle() }
    }

    /// Records that `arriving` is translated into `leaving`, and forgets the tuples of translations that are over as a
    /// result.
    private mutating func replaceTranslation(of arriving: UInt64, to leaving: UInt64) {
        if let former = leavingOfArriving[arriving], former != leaving,
            let number = connectionOfView[former]?.connection
        {
            forget(former, of: number)
        }
        if let former = arrivingOfLeaving[leaving], former != arriving,
            let number = connectionOfView[leaving]?.connection
        {
            leavingOfArriving[former] = nil
            forget(leaving, of: number)
        }
        leavingOfArriving[arriving] = leaving
        arrivingOfLeaving[leaving] = arriving
    }

    private mutating func forget(_ view: UInt64, of number: UInt32) {
        connections[number]?.views.removeAll { $0 == view }
        if connectionOfView[view]?.connection == number { connectionOfView[view] = nil }
        if let leaving = leavingOfArriving.removeValue(forKey: view) { arrivingOfLeaving[leaving] = nil }
        if let arriving = arrivingOfLeaving.removeValue(forKey: view) { leavingOfArriving[arriving] = nil }
    }

    private mutating func makeConnection(_ views: [View], in zone: UInt16) -> UInt32? {
        guard connections.count < Self.maximumConnections else { return nil }
        repeat { nextConnection &+= 1 } while connections[nextConnection] != nil
        connections[nextConnection] = Connection(
            firstRound: round, reportedSince: round, lastSeen: second, lastRound: round, lastDirectRound: round,
            zone: zone, views: views.map(\.hash))
        for view in views {
            connectionOfView[view.hash] = Membership(connection: nextConnection, isMirrored: view.isMirrored)
        }
        return nextConnection
    }

    private mutating func add(_ view: View, to number: UInt32) {
        connections[number]?.views.append(view.hash)
        connectionOfView[view.hash] = Membership(connection: number, isMirrored: view.isMirrored)
        if let views = connections[number]?.views, views.count > Self.maximumViews { forget(views[0], of: number) }
    }

    /// Merges two connections of the same direction that an entry shows to be one. What each of them has reported is added to the lag of the
    /// other's zones.
    private mutating func merge(_ other: UInt32, into number: UInt32) {
        guard var joined = connections.removeValue(forKey: number),
            var absorbed = connections.removeValue(forKey: other)
        else { return }
        joined.forgetReports(before: round)
        absorbed.forgetReports(before: round)
        for index in joined.shares.indices {
            joined.shares[index].originalLag += absorbed.original
            joined.shares[index].replyLag += absorbed.reply
        }
        for var share in absorbed.shares where !joined.shares.contains(where: { $0.zone == share.zone }) {
            share.originalLag += joined.original
            share.replyLag += joined.reply
            if joined.shares.count == 1 { mergedConnections += 1 }
            joined.shares.append(share)
        }
        joined.original += absorbed.original
        joined.reply += absorbed.reply
        joined.lastSeen = max(joined.lastSeen, absorbed.lastSeen)
        joined.lastDirectRound = round
        if absorbed.firstRound &- joined.firstRound > UInt32.max / 2 { joined.firstRound = absorbed.firstRound }
        if joined.translated == nil, absorbed.translated != nil {
            (joined.translated, joined.zone) = (absorbed.translated, absorbed.zone)
        }
        joined.views += absorbed.views
        for view in absorbed.views { connectionOfView[view]?.connection = number }
        connections[number] = joined
        while let views = connections[number]?.views, views.count > Self.maximumViews { forget(views[0], of: number) }
    }
}

extension Flow {
    /// The same traffic of an entry whose original direction is this one's reply direction.
    fileprivate var turned: Flow {
        Flow(
            transport: transport, original: reply, reply: original, originalCounters: replyCounters,
            replyCounters: originalCounters, zone: zone)
    }

    /// Returns whether the entry's packets arrive at that translation or leave it.
    fileprivate func isHop(of translated: (original: FlowTuple, reply: FlowTuple)) -> Bool {
        let leaving = translated.reply.mirrored
        return original == translated.original || original == leaving || reply.mirrored == translated.original
            || reply.mirrored == leaving
    }
}

extension FlowCounters {
    /// Subtracts `counted` from this lag and returns what exceeds the lag.
    fileprivate mutating func lead(of counted: FlowCounters) -> FlowCounters {
        let beyond = FlowCounters(
            packets: counted.packets - min(counted.packets, packets), bytes: counted.bytes - min(counted.bytes, bytes))
        packets -= min(packets, counted.packets)
        bytes -= min(bytes, counted.bytes)
        return beyond
    }
}
