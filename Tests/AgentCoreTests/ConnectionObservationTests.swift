// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowModel
import TestSupport
import Testing

/// Makes a flow from a port of 192.0.2.1 to 198.51.100.2:443, with the given numbers of packets of 100 bytes.
private func flow(_ port: Int, _ original: UInt64, _ reply: UInt64 = 0) -> Flow {
    let tuple = FlowTuple(
        source: IPAddress(v4: 0xc000_0201), destination: IPAddress(v4: 0xc633_6402), sourcePort: UInt16(port),
        destinationPort: 443)
    return Flow(
        transport: .tcp, original: tuple, reply: tuple.mirrored,
        originalCounters: FlowCounters(packets: original, bytes: original * 100),
        replyCounters: FlowCounters(packets: reply, bytes: reply * 100))
}

private func snapshot(_ flows: [Flow], maximumCount: Int = .max) -> CounterSnapshot {
    var snapshot = CounterSnapshot(expectedCount: 0, maximumCount: maximumCount)
    for flow in flows { snapshot.add(flow) }
    snapshot.seal()
    return snapshot
}

@Suite struct ConnectionObservationTests {
    @Test("a snapshot finds every connection in it and no other", arguments: 0..<10)
    func aSnapshotKnowsEveryConnection(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let ports = Set(
            (0..<Int.random(in: 0...200, using: &random)).map { _ in Int.random(in: 0..<300, using: &random) })
        let snapshot = snapshot(ports.shuffled(using: &random).map { flow($0, UInt64($0), 7) })
        for port in 0..<300 {
            let counters = flow(port, UInt64(port), 7)
            #expect(
                snapshot.find(flow(port, 1_000))
                    == (ports.contains(port)
                        ? .counters(original: counters.originalCounters, reply: counters.replyCounters) : .absent))
        }
    }

    @Test("a connection left out of the snapshot, or in it twice, has no gain") func whatIsNotKnownIsNotGuessed() {
        let few = snapshot([flow(1, 5), flow(2, 5), flow(3, 5)], maximumCount: 2)
        #expect(few.find(flow(1, 6)) != .unknown && few.find(flow(3, 6)) == .unknown)
        let alike = snapshot([flow(1, 5), flow(2, 5), flow(1, 9)])
        #expect(alike.find(flow(1, 6)) == .unknown && alike.find(flow(2, 6)) != .unknown)
        #expect(ObservedConnection(flow(1, 6), since: alike).gain == nil)
    }

    @Test("the gain of a connection is its growth since the snapshot; counters that shrank were zeroed")
    func whatWasThereBeforeIsSubtracted() {
        let before = snapshot([flow(1, 100, 10), flow(2, 100, 10), flow(3, 5, 5)])
        let grown = ObservedConnection(flow(1, 130, 10), since: before)
        #expect(grown.gain?.original == FlowCounters(packets: 30, bytes: 3_000))
        #expect(grown.gain?.reply == FlowCounters() && !grown.wasZeroed)
        let zeroed = ObservedConnection(flow(2, 100, 9), since: before)
        #expect(zeroed.wasZeroed && zeroed.gain?.bytes == 10_900)
        let new = ObservedConnection(flow(4, 1, 2), since: before)
        #expect(!new.wasZeroed && new.gain?.bytes == 300)
    }

    /// With more connections than are shown, those shown are the busiest, and the totals are those of all.
    @Test("only the busiest connections are kept, and the totals cover all") func onlyTheBusiestAreShown() {
        var random = SeededGenerator(seed: 1)
        var observation = ConnectionObservation()
        let counts = (0..<(3 * ConnectionObservation.maximumRows)).map { _ in
            UInt64.random(in: 1...1_000_000, using: &random)
        }
        let empty = snapshot([])
        for (port, count) in counts.enumerated() {
            observation.add(ObservedConnection(flow(port % 65_536, count), since: empty))
        }
        observation.keepBusiest()
        #expect(
            observation.rows.map(\.flow.originalCounters.packets)
                == counts.sorted(by: >).prefix(ConnectionObservation.maximumRows).map { $0 })
        #expect(observation.totals.connections == counts.count)
        #expect(observation.totals.original.packets == counts.reduce(0, +))
        #expect(
            ConnectionListing(observation).notes == [
                "connections not shown: \(2 * ConnectionObservation.maximumRows) less busy"
            ])
    }

    @Test("the longest addresses and counts fit one line of the table")
    func theLongestAddressesAndCountsFitOneLine() throws {
        let source = try #require(IPAddress("255.255.255.255"))
        let tuple = FlowTuple(source: source, destination: source, sourcePort: 65_535, destinationPort: 65_535)
        var translated = tuple
        translated.sourcePort = 1
        let most = FlowCounters(packets: .max, bytes: .max / 4)
        var observation = ConnectionObservation()
        observation.elapsed = .seconds(1)
        observation.add(
            ObservedConnection(
                Flow(
                    transport: TransportProtocol(rawValue: 136), original: tuple, reply: translated,
                    originalCounters: most, replyCounters: most), since: snapshot([])))
        for count in [1, 999, 9_994, 99_940, 1 << 40] as [UInt64] {
            observation.add(ObservedConnection(flow(80, count, count), since: snapshot([])))
        }
        observation.keepBusiest()
        var lines: [String] = []
        ConnectionListing(observation).forEachLine { lines.append($0) }
        #expect(lines.allSatisfy { $0.utf8.count <= 121 && $0.hasSuffix("\n") })
        // All numbers fit their columns, so that only the reply's line is shorter.
        #expect(Set(lines.filter { !$0.hasPrefix("reply") }.map(\.utf8.count)).count == 1)
        #expect(lines.count == 9)
        #expect(lines[2].hasPrefix("reply    255.255.255.255:1      255.255.255.255:65535\n"))
    }
}
