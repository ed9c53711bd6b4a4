// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOPosix
import Synchronization
import Threads

/// Flows of TCP connections between IPv4 addresses.
enum TestFlow {
    /// Makes a flow with packets in the original direction only.
    static func make(_ port: UInt16, bytes: UInt64) -> Flow {
        let tuple = FlowTuple(
            source: IPAddress(v4: 0xc000_0201), destination: IPAddress(v4: 0xc633_6402), sourcePort: port,
            destinationPort: 443)
        return Flow(
            transport: .tcp, original: tuple, reply: tuple.mirrored,
            originalCounters: FlowCounters(packets: 1, bytes: bytes), replyCounters: FlowCounters())
    }
}

/// Exporters that share an event loop.
enum TestExporter {
    /// Makes an exporter, without starting it, to a server on a port of 127.0.0.1.
    static func make(port: Int = 1, maximumUnacknowledgedBytes: Int = 16 << 20) -> FlowExporter {
        FlowExporter(
            configuration: FlowExporter.Configuration(
                host: "127.0.0.1", port: port, maximumUnacknowledgedBytes: maximumUnacknowledgedBytes),
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }
}

/// A reader of flows and ended connections that a test lists.
final class ListedReader: FlowReader {
    /// Called for each collection.
    typealias Collect = (_ isLast: Bool, _ shouldContinue: () -> Bool, _ body: (Flow) -> Void) -> CollectionReport

    let events: any ConnectionEvents
    private let collectListed: Collect

    init(events: ListedEvents, collect: @escaping Collect) {
        self.events = events
        collectListed = collect
    }

    func prepare() {}

    func sample() {}

    func collect(isLast: Bool, while shouldContinue: () -> Bool, _ body: (Flow) -> Void) -> CollectionReport {
        collectListed(isLast, shouldContinue, body)
    }
}

/// The events of ended connections that a test lists.
final class ListedEvents: ConnectionEvents {
    let name = "listed events"
    let capacity = 1_000
    let maximumReceived = 2
    let problems: [SelfCheck.Condition: String]
    private let waiting: Mutex<[EndedConnection]>
    /// Ended connections whose events arrive only when ``receive()`` is called without a wait before it, as at
    /// shutdown.
    private let late: Mutex<[EndedConnection]>
    private let isAwaited = Atomic(false)
    private let isInterrupted = Atomic(false)
    private let interruption = ChangeNotifier()
    private let received = Mutex(EventStatistics())
    private let handle: @Sendable ([EndedConnection]) -> Void

    init(
        _ ends: [Flow] = [], late: [Flow] = [], problems: [SelfCheck.Condition: String] = [:],
        handle: @escaping @Sendable ([EndedConnection]) -> Void = { _ in }
    ) {
        waiting = Mutex(ends.map(EndedConnection.init))
        self.late = Mutex(late.map(EndedConnection.init))
        self.problems = problems
        self.handle = handle
    }

    var statistics: EventStatistics { received.withLock { $0 } }

    var counters: [ReaderCounter] { [ReaderCounter("kubenetmon_agent_listed_total", "Listed.", statistics.events)] }

    func wait(milliseconds: Int) {
        isAwaited.store(true, ordering: .relaxed)
        guard waiting.withLock({ $0.isEmpty }) else { return }
        interruption.block(atMost: .milliseconds(milliseconds)) { isInterrupted.load(ordering: .relaxed) }
    }

    func interrupt() {
        isInterrupted.store(true, ordering: .relaxed)
        interruption.notify()
    }

    func receive() -> Int {
        let ends = waiting.withLock { waiting in
            let ends = Array(waiting.prefix(maximumReceived))
            waiting.removeFirst(ends.count)
            return ends
        }
        let wasAwaited = isAwaited.exchange(false, ordering: .relaxed)
        let taken = ends.isEmpty && !wasAwaited ? late.withLock { late in late.popLast().map { [$0] } ?? [] } : ends
        received.withLock { $0.events += UInt64(taken.count) }
        if !taken.isEmpty { handle(taken) }
        return taken.count
    }
}
