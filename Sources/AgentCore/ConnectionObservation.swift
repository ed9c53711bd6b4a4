// SPDX-License-Identifier: Apache-2.0

package import Conntrack
package import FlowModel

/// The connections of the table, which is read twice, some time apart, without changing anything in the kernel.
package struct ConnectionObservation {
    /// Sums over all connections.
    package struct Totals {
        /// The number of connections.
        package var connections = 0
        /// Counters of the original direction.
        package var original = FlowCounters()
        /// Counters of the reply direction.
        package var reply = FlowCounters()
        /// Packets and bytes carried between the two readings.
        package var gain = ObservedConnection.Gain(original: FlowCounters(), reply: FlowCounters())
    }

    /// The maximum number of connections with rates: they take 40 MB.
    static let maximumSnapshot = 1 << 20
    /// The maximum number of connections shown, the busiest ones: they take 7 MB, and as much again during the
    /// selection.
    package static let maximumRows = 1 << 15

    /// The busiest connections, in descending order.
    package private(set) var rows: [ObservedConnection] = []
    /// Sums over all connections.
    package private(set) var totals = Totals()
    /// The result of the second reading.
    package private(set) var collection = ConntrackTable.Collection()
    /// The time between the two readings.
    package var elapsed: Duration = .zero
    /// Connections whose counters an agent, or another program, zeroed between the two readings.
    package private(set) var zeroed = 0
    /// Connections whose rates are unknown.
    private(set) var withoutRate = 0

    /// Makes an empty observation.
    package init() {}

    /// Reads the table twice. If counters were zeroed in between, it starts over, up to two times: an agent that zeroes
    /// them every few seconds has just done so.
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

    /// Adds a connection of the second reading.
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

    /// Sorts the connections, the busiest first, and drops those beyond ``maximumRows``.
    package mutating func keepBusiest() {
        rows.sort { $0.isBusier(than: $1) }
        rows.removeLast(max(0, rows.count - Self.maximumRows))
    }
}
