// SPDX-License-Identifier: Apache-2.0

import FlowModel
import TestSupport
import Testing

@testable import Conntrack

/// A connection that passes several zones, each of which counts every packet.
private struct SimulatedConnection {
    /// An entry: its zone, its tuples, and what it has counted since it was last read.
    struct Entry {
        let zone: UInt16
        var original: FlowTuple
        var reply: FlowTuple
        var originalCounters = FlowCounters()
        var replyCounters = FlowCounters()
        var hasEnded = false

        var isTranslated: Bool { reply != original.mirrored }

        /// Whether the zone took a reply for the connection's first packet.
        var isTurned = false

        /// Deletes the entry; the next packet, a reply, makes another one.
        mutating func startOverWithReply() {
            (original, reply) = (reply, original)
            isTurned.toggle()
        }

        var isIdle: Bool { originalCounters.isZero && replyCounters.isZero }

        func peek() -> ConntrackEntry {
            var copy = self
            return copy.read()
        }

        mutating func read() -> ConntrackEntry {
            defer { (originalCounters, replyCounters) = (FlowCounters(), FlowCounters()) }
            return ConntrackEntry(
                flow: Flow(
                    transport: .tcp, original: original, reply: reply, originalCounters: originalCounters,
                    replyCounters: replyCounters),
                id: nil, zone: ConntrackZone(original: zone, reply: zone))
        }
    }

    /// Where addresses are translated on the path.
    enum Translation: CaseIterable { case none, firstSource, lastSource, firstDestination, middleSource }

    var entries: [Entry] = []
    var carried: UInt64 = 0

    init(number: UInt16, zones: [UInt16], _ translation: Translation) {
        let pod = Endpoint("10.244.1.20", 20_000 + number)
        let node = Endpoint("172.18.0.2", 30_000 + number)
        let service = Endpoint("10.96.0.80", 80)
        let peer = Endpoint("10.244.2.10", 8080)
        func tuple(_ source: Endpoint, _ destination: Endpoint) -> FlowTuple {
            FlowTuple(
                source: source.address, destination: destination.address, sourcePort: source.port,
                destinationPort: destination.port)
        }
        var arriving = tuple(pod, translation == .firstDestination ? service : peer)
        for (place, zone) in zones.enumerated() {
            let translatesSource =
                translation == .firstSource && place == 0
                || translation == .lastSource && place == zones.count - 1
                || translation == .middleSource && place == min(1, zones.count - 1)
            var leaving = arriving
            if translation == .firstDestination && place == 0 { leaving = tuple(pod, peer) }
            if translatesSource { leaving = tuple(node, peer) }
            entries.append(Entry(zone: zone, original: arriving, reply: leaving.mirrored))
            arriving = leaving
        }
    }

    mutating func carry(_ bytes: UInt64, isReply: Bool) {
        carried += bytes
        for index in entries.indices where !entries[index].hasEnded {
            let counters = FlowCounters(packets: 1, bytes: bytes)
            if isReply != entries[index].isTurned {
                entries[index].replyCounters += counters
            } else {
                entries[index].originalCounters += counters
            }
        }
    }
}

@Suite struct ZoneLedgerTests {
    @Test("Nothing is remembered while there is the default zone alone")
    func defaultZone() {
        var ledger = ZoneLedger()
        var connection = SimulatedConnection(number: 1, zones: [0], .firstSource)
        for _ in 0..<3 {
            connection.carry(100, isReply: false)
            let entry = connection.entries[0].read()
            let reading = ledger.notice(entry)
            let flow = ledger.report(entry, second: 0)
            #expect(reading == .now && flow == entry.flow)
        }
        #expect(!ledger.isActive && ledger.mergedConnections == 0)
    }

    @Test(
        "Whatever order its entries are read and end in, a connection is counted once",
        arguments: SimulatedConnection.Translation.allCases,
        [[3, 7], [0, 7], [9, 3, 7], [5, 0, 1, 2]] as [[UInt16]])
    private func everyOrder(translation: SimulatedConnection.Translation, zones: [UInt16]) {
        for seed in 0..<200 {
            var generator = SeededGenerator(seed: UInt64(seed))
            var ledger = ZoneLedger()
            if zones.contains(0) {
                // Another connection outside the default zone is found before the first collection.
                var other = SimulatedConnection(number: 999, zones: [1], .none)
                _ = ledger.notice(other.entries[0].read())
            }
            var connections = (0..<5).map { SimulatedConnection(number: $0, zones: zones, translation) }
            var reported = [UInt64](repeating: 0, count: connections.count)
            var begun = [Int?](repeating: nil, count: connections.count)
            for round in 0..<Int.random(in: 1...8, using: &generator) {
                ledger.beginRound(second: UInt32(round) * 5)
                // A dump shows entries in any order, and packets pass while it runs.
                var order = connections.indices.flatMap { number in
                    connections[number].entries.indices.map { (number, $0) }
                }
                order.shuffle(using: &generator)
                for number in connections.indices {
                    for _ in 0..<Int.random(in: 0...3, using: &generator) {
                        connections[number].carry(
                            .random(in: 40...1500, using: &generator), isReply: .random(using: &generator))
                        begun[number] = begun[number] ?? round
                    }
                }
                var held: [(Int, Int)] = []
                func read(_ number: Int, _ index: Int) {
                    reported[number] +=
                        ledger.report(
                            connections[number].entries[index].read(), second: UInt32(round) * 5
                        ).bytes
                }
                for (number, index) in order where !connections[number].entries[index].hasEnded {
                    let entry = connections[number].entries[index]
                    if entry.isIdle { continue }
                    // The connection begins during the dump, which has already passed the places of some of its
                    // entries.
                    if begun[number] == round && Bool.random(using: &generator) { continue }
                    var copy = entry
                    switch ledger.notice(copy.read()) {
                    case .now: read(number, index)
                    case .afterDump: held.append((number, index))
                    case .nextCollection: break
                    }
                    if Bool.random(using: &generator) { connections[number].carry(52, isReply: true) }
                }
                for (number, index) in held { read(number, index) }
                // An entry is deleted, and the connection goes on with a reply.
                if Bool.random(using: &generator) {
                    let number = Int.random(in: 0..<connections.count, using: &generator)
                    let index = Int.random(in: 0..<zones.count, using: &generator)
                    let entry = connections[number].entries[index]
                    let isKnown = begun[number].map { $0 < round } ?? false
                    if isKnown && !entry.hasEnded && !entry.isTranslated && !entry.isTurned {
                        read(number, index)
                        connections[number].entries[index].startOverWithReply()
                    }
                }
                // Occasionally, one entry ends before the others.
                let number = Int.random(in: 0..<connections.count, using: &generator)
                let index = Int.random(in: 0..<zones.count, using: &generator)
                let living = connections[number].entries.filter { !$0.hasEnded }.count
                let isKnown = begun[number].map { $0 < round } ?? false
                if living > 1 && isKnown && !connections[number].entries[index].hasEnded {
                    read(number, index)
                    connections[number].entries[index].hasEnded = true
                }
            }
            // The last dump shows all entries.
            for connection in connections {
                for var entry in connection.entries where !entry.hasEnded && !entry.isIdle {
                    _ = ledger.notice(entry.read())
                }
            }
            for number in connections.indices {
                for index in connections[number].entries.indices where !connections[number].entries[index].hasEnded {
                    reported[number] += ledger.report(connections[number].entries[index].read(), second: 40).bytes
                }
            }
            #expect(reported == connections.map(\.carried), "seed \(seed)")
            #expect(ledger.unmergedEntries == 0)
        }
    }

    @Test("Connections shorter than an interval are known by their events alone")
    func eventsAlone() {
        var ledger = ZoneLedger()
        var reported: UInt64 = 0
        var carried: UInt64 = 0
        for life in 0..<50 {
            // The same ports are reused by every connection; the zones' entries end in alternating order.
            var connection = SimulatedConnection(number: 1, zones: [3, 7], .lastSource)
            connection.carry(100 + UInt64(life), isReply: false)
            connection.carry(1_000, isReply: true)
            carried += connection.carried
            for index in life % 2 == 0 ? [0, 1] : [1, 0] {
                reported += ledger.report(connection.entries[index].read(), second: 1).bytes
            }
        }
        #expect(reported == carried)
    }

    @Test("The tuples reported name the service that was dialled")
    func tuples() {
        var ledger = ZoneLedger()
        var connection = SimulatedConnection(number: 1, zones: [3, 7], .firstDestination)
        for index in [0, 1] { _ = ledger.notice(connection.entries[index].read()) }
        connection.carry(100, isReply: false)
        for index in [1, 0] {
            let flow = ledger.report(connection.entries[index].read(), second: 0)
            #expect(flow.original == connection.entries[0].original)
            #expect(flow.reply == connection.entries[0].reply)
        }
        #expect(ledger.mergedConnections == 1)
        #expect(ledger.example.map { [$0.0.original, $0.1.original].sorted() } == [3, 7])
    }

    @Test(
        "A zone that first sees a reply counts in the connection's direction",
        arguments: SimulatedConnection.Translation.allCases)
    private func replyFirst(translation: SimulatedConnection.Translation) {
        for turned in [0, 1] {
            var connection = SimulatedConnection(number: 1, zones: [3, 7], translation)
            if connection.entries[turned].isTranslated { continue }
            var ledger = ZoneLedger()
            connection.entries[turned].startOverWithReply()
            // The entry that translates tells the direction, whenever it is seen.
            let order = translation == .none ? [1 - turned, turned] : [turned, 1 - turned]
            for index in order { _ = ledger.notice(connection.entries[index].peek()) }
            for _ in 0..<3 {
                connection.carry(100, isReply: false)
                connection.carry(1_000, isReply: true)
                var (original, reply) = (FlowCounters(), FlowCounters())
                for index in order {
                    let flow = ledger.report(connection.entries[index].read(), second: 0)
                    #expect(flow.original.destinationPort != 20_001 && flow.original.destinationPort != 30_001)
                    original += flow.originalCounters
                    reply += flow.replyCounters
                }
                #expect(original == FlowCounters(packets: 1, bytes: 100))
                #expect(reply == FlowCounters(packets: 1, bytes: 1_000))
            }
            #expect(ledger.mergedConnections == 1)
        }
    }

    /// A flow with 10 packets of 100 bytes one way and 7 of 1,000 the other.
    private static func entry(
        _ zone: UInt16, _ original: (Endpoint, Endpoint), _ reply: (Endpoint, Endpoint),
        _ transport: TransportProtocol = .udp
    ) -> ConntrackEntry {
        func tuple(_ ends: (Endpoint, Endpoint)) -> FlowTuple {
            FlowTuple(
                source: ends.0.address, destination: ends.1.address, sourcePort: ends.0.port,
                destinationPort: ends.1.port)
        }
        return ConntrackEntry(
            flow: Flow(
                transport: transport, original: tuple(original), reply: tuple(reply),
                originalCounters: FlowCounters(packets: 10, bytes: 1_000),
                replyCounters: FlowCounters(packets: 7, bytes: 7_000)),
            id: nil, zone: ConntrackZone(original: zone, reply: zone))
    }

    @Test("All reports of a connection have one zone: that of the entry that translates, or else of the first one seen")
    func zone() {
        let (pod, service) = (Endpoint("10.244.1.20", 40_000), Endpoint("10.96.0.80", 80))
        let (peer, node) = (Endpoint("10.244.2.10", 8080), Endpoint("172.18.0.2", 30_000))
        func zones(_ entries: [ConntrackEntry]) -> Set<UInt16> {
            var ledger = ZoneLedger()
            var zones: Set<UInt16> = []
            for round in 0..<4 as Range<UInt32> {
                ledger.beginRound(second: round)
                if round == 0 { for entry in entries { _ = ledger.notice(entry) } }
                for entry in round.isMultiple(of: 2) ? entries : entries.reversed() {
                    let flow = ledger.report(entry, second: round)
                    if !flow.originalCounters.isZero { zones.insert(flow.zone) }
                }
            }
            return zones
        }
        let plain = [7, 3, 0].map { Self.entry($0, (pod, peer), (peer, pod)) }
        #expect(zones(plain) == [7])
        let masqueraded = Self.entry(5, (pod, peer), (peer, node))
        #expect(zones(plain + [masqueraded]) == [5])
        let dialled = Self.entry(9, (pod, service), (peer, pod))
        #expect(zones([masqueraded] + plain + [dialled]) == [9])
        #expect(zones([dialled] + plain + [masqueraded]) == [9])
        #expect(zones([Self.entry(0, (pod, peer), (peer, pod))]) == [0])
    }

    @Test("A pod that calls itself through its service is counted once, in its direction")
    func hairpin() {
        var ledger = ZoneLedger()
        let (pod, service) = (Endpoint("10.244.1.20", 7946), Endpoint("10.96.0.80", 7946))
        for second in 0..<5 as Range<UInt32> {
            ledger.beginRound(second: second)
            var (original, reply) = (FlowCounters(), FlowCounters())
            for entry in [
                Self.entry(1, (pod, service), (pod, pod)), Self.entry(2, (pod, pod), (pod, service)),
            ] {
                let flow = ledger.report(entry, second: second)
                original += flow.originalCounters
                reply += flow.replyCounters
            }
            #expect(original == FlowCounters(packets: 10, bytes: 1_000), "round \(second)")
            #expect(reply == FlowCounters(packets: 7, bytes: 7_000), "round \(second)")
        }
    }

    @Test("A connection that the peer opens later with the same ports has the peer's direction")
    func opposite() {
        var ledger = ZoneLedger()
        let (left, right) = (Endpoint("10.244.1.20", 123), Endpoint("10.244.2.10", 123))
        func sources(_ first: Endpoint, _ second: Endpoint, at time: UInt32) -> [IPAddress] {
            ledger.beginRound(second: time)
            return [1, 2].map {
                ledger.report(Self.entry($0, (first, second), (second, first)), second: time).original.source
            }
        }
        #expect(sources(left, right, at: 0) == [left.address, left.address])
        for _ in 0..<3 { ledger.beginRound(second: 5) }
        #expect(sources(right, left, at: 10) == [right.address, right.address])
    }

    @Test("Two hosts that ping each other are two connections")
    func pings() {
        var ledger = ZoneLedger()
        let icmp = TransportProtocol(rawValue: 1)
        let (left, right) = (Endpoint("10.244.1.20", 0), Endpoint("10.244.2.10", 0))
        let bytes = [
            ledger.report(Self.entry(1, (left, right), (right, left), icmp), second: 0).bytes,
            ledger.report(Self.entry(2, (right, left), (left, right), icmp), second: 0).bytes,
        ]
        #expect(bytes == [8_000, 8_000] && ledger.mergedConnections == 0)
    }

    @Test("A port that is translated for one pod after the other keeps neither the first pod's name nor its tuples")
    func reusedTranslation() {
        var ledger = ZoneLedger()
        for life in 0..<500 {
            ledger.beginRound(second: UInt32(life))
            // Every pod has its own port, and all of these are translated to the node's port 30,000.
            var connection = SimulatedConnection(number: 0, zones: [3, 4, 5], .middleSource)
            let pod = Endpoint("10.244.1.20", 20_000 + UInt16(life))
            for index in connection.entries.indices where connection.entries[index].original.source == pod.address {
                let (original, reply) = (connection.entries[index].original, connection.entries[index].reply)
                connection.entries[index].original.sourcePort = pod.port
                if reply == original.mirrored { connection.entries[index].reply.destinationPort = pod.port }
            }
            for index in connection.entries.indices { _ = ledger.notice(connection.entries[index].peek()) }
            connection.carry(100, isReply: false)
            connection.carry(1_000, isReply: true)
            var reported: UInt64 = 0
            for index in [2, 0, 1] {
                let flow = ledger.report(connection.entries[index].read(), second: UInt32(life))
                reported += flow.bytes
                if flow.bytes > 0 { #expect(flow.original.sourcePort == pod.port, "life \(life)") }
            }
            #expect(reported == 1_100, "life \(life)")
        }
        // The connections of the last minute, and the hops of one connection.
        #expect(ledger.rememberedViews < 3 * Int(ZoneLedger.idleSeconds) * 2)
    }

    @Test("Connections are read however long the interval is")
    func longIntervals() {
        var ledger = ZoneLedger()
        var connection = SimulatedConnection(number: 1, zones: [3, 7], .none)
        var readings: [ZoneLedger.Reading] = []
        for round in 0..<4 {
            ledger.beginRound(second: UInt32(round) * 3600)
            connection.carry(100, isReply: false)
            readings.append(ledger.notice(connection.entries[0].peek()))
        }
        #expect(readings == [.nextCollection, .afterDump, .now, .now])
    }

    @Test("Connections that carry nothing are forgotten, and those beyond the bound are counted per zone")
    func bounds() {
        var ledger = ZoneLedger()
        ledger.beginRound(second: 0)
        for number in 0..<ZoneLedger.maximumConnections {
            var connection = SimulatedConnection(number: 0, zones: [3], .none)
            connection.carry(100, isReply: false)
            var entry = connection.entries[0].read()
            entry.flow.original.source = IPAddress(v4: UInt32(number))
            entry.flow.reply = entry.flow.original.mirrored
            let bytes = ledger.report(entry, second: 0).bytes
            #expect(bytes == 100)
        }
        var late = SimulatedConnection(number: 2, zones: [3, 7], .none)
        late.carry(100, isReply: false)
        let unmerged = late.entries.indices.map { ledger.report(late.entries[$0].read(), second: 0).bytes }
        #expect(unmerged == [100, 100] && ledger.unmergedEntries == 2)
        for round in 1...3 { ledger.beginRound(second: (ZoneLedger.idleSeconds + 1) * UInt32(round)) }
        late.carry(100, isReply: false)
        let merged = late.entries.indices.map { ledger.report(late.entries[$0].read(), second: 0).bytes }
        #expect(merged == [100, 0])
    }
}
