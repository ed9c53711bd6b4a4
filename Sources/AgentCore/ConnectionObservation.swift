// SPDX-License-Identifier: Apache-2.0

package import Conntrack
package import FlowModel

/// The connections of the table as two looks at it show them, some time apart. Nothing in the kernel changes by it.
package struct ConnectionObservation {
    /// What all connections have carried.
    package struct Totals {
        /// Their number.
        package var connections = 0
        /// What went in the original direction.
        package var original = FlowCounters()
        /// What came back.
        package var reply = FlowCounters()
        /// What was carried between the looks.
        package var gain = ObservedConnection.Gain(original: FlowCounters(), reply: FlowCounters())
    }

    /// How many connections have rates: 40 MB are enough for them.
    package static let maximumSnapshot = 1 << 20
    /// How many connections are shown, the busiest: 7 MB are enough for them, and as much again while they are chosen.
    package static let maximumRows = 1 << 15

    /// The busiest, in their order.
    package private(set) var rows: [ObservedConnection] = []
    /// What all connections have carried.
    package private(set) var totals = Totals()
    /// What the second look saw.
    package private(set) var collection = ConntrackTable.Collection()
    /// The time between the looks.
    package var elapsed: Duration = .zero
    /// Connections whose counters an agent, or another program, zeroed between the looks.
    package private(set) var zeroed = 0
    /// Connections whose rates are not known.
    package private(set) var withoutRate = 0

    /// An observation that has seen nothing.
    package init() {}

    /// Looks at the table twice. Where counters were zeroed meanwhile it looks again, up to two times: an agent that zeroes
    /// them every few seconds has just done it.
    package static func make(
        _ table: inout ConntrackTable, _ filter: FlowFilter, over interval: Duration
    ) async throws -> ConnectionObservation {
        var observation = try await observe(&table, filter, over: interval)
        for _ in 0..<2 where observation.zeroed > 0 {
            observation = try await observe(&table, filter, over: interval)
        }
        return observation
    }

    private static func observe(
        _ table: inout ConntrackTable, _ filter: FlowFilter, over interval: Duration
    ) async throws -> ConnectionObservation {
        var snapshot = CounterSnapshot(expectedCount: try table.count(), maximumCount: maximumSnapshot)
        let start = ContinuousClock.now
        _ = try table.list(filter) { snapshot.add($0) }
        snapshot.seal()
        try await Task.sleep(until: start + interval, clock: .continuous)
        var observation = ConnectionObservation()
        observation.elapsed = .now - start
        observation.collection = try table.list(filter) { observation.add(ObservedConnection($0, since: snapshot)) }
        observation.keepBusiest()
        return observation
    }

    /// Takes in a connection that the second look shows.
    package mutating func add(_ connection: ObservedConnection) {
        totals.connections += 1
        totals.original += connection.flow.originalCounters
        totals.reply += connection.flow.replyCounters
        if let gain = connection.gain {
            totals.gain.original += gain.original
            totals.gain.reply += gain.reply
        } else {
            withoutRate += 1
        }
        if connection.wasZeroed { zeroed += 1 }
        rows.append(connection)
        if rows.count == 2 * Self.maximumRows { keepBusiest() }
    }

    /// Puts the busiest in order and forgets the others.
    package mutating func keepBusiest() {
        rows.sort { $0.isBusier(than: $1) }
        rows.removeLast(max(0, rows.count - Self.maximumRows))
    }
}
