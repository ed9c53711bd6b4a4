// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import FlowModel
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Conntrack

@Suite struct ConntrackReaderTests {
    @Test("the reader returns the table's flows and reports ended connections")
    func flowsAndEnds() async throws {
        let (collected, report, ended, statistics, capacity) = try await NetworkNamespace.run {
            try Traffic.addAddresses()
            let ends = Ends()
            let events = ConntrackEvents(
                try DestroyEvents(FlowFilter(), receiveBufferBytes: 1 << 20) { ends.add($0) },
                selfCheck: ConntrackSelfCheck())
            let reader = try ConntrackReader(
                mode: .exact, filter: FlowFilter(), events: events,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            reader.prepare()
            let (client, server) = Traffic.endpoints(true, 40_000, 53)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: 100, to: server, receivedBy: sockets.1)
            try reader.sample()
            var collected: [UInt64] = []
            let report = reader.collect(isLast: false, while: { true }, { collected.append($0.bytes) })
            try sockets.0.send(datagram: 10, to: server, receivedBy: sockets.1)
            try NetworkNamespace.shell("conntrack -D -p udp")
            while try events.receive() > 0 {}
            return (collected, report, ends.bytes, events.statistics, events.capacity)
        }
        #expect(collected == [128] && report.entries == 1 && report.error == nil)
        #expect(ended == [38] && statistics.events == 1 && statistics.droppedEvents == 0)
        #expect(capacity >= (1 << 17) / DestroyEvents.chargePerEvent)
    }

    private final class Ends: Sendable {
        private let storage = Mutex<[UInt64]>([])

        var bytes: [UInt64] { storage.withLock { $0 } }

        func add(_ ended: [EndedConnection]) { storage.withLock { $0 += ended.map(\.flow.bytes) } }
    }
}
