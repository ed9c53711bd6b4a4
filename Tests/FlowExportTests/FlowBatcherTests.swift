// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import Testing

@Suite struct FlowBatcherTests {
    @Test("a batch ends with its minute") func aBatchEndsWithItsMinute() async throws {
        let sent = try await sent(batches: 3) { batcher in
            batcher.append(.test(1), observedAtMilliseconds: 60_000)
            batcher.append(.test(2), observedAtMilliseconds: 119_999)
            batcher.append(.test(3), observedAtMilliseconds: 120_000)
            // The clock was set back.
            batcher.append(.test(4), observedAtMilliseconds: 61_000)
            batcher.flush()
        }
        #expect(sent.map(\.sequence) == [1, 2, 3])
        #expect(sent.map(\.observedAtMilliseconds) == [60_000, 120_000, 61_000])
        #expect(sent.map(\.flows) == [[.test(1), .test(2)], [.test(3)], [.test(4)]])
    }

    @Test("a batch ends when it has the maximum number of flows") func aBatchEndsWhenItIsFull() async throws {
        let flows = (0...FlowBatchBuilder.maximumFlows).map { Flow.test($0) }
        let sent = try await sent(batches: 2) { batcher in
            for flow in flows { batcher.append(flow, observedAtMilliseconds: 5) }
            batcher.flush()
        }
        #expect(sent.map(\.flows.count) == [FlowBatchBuilder.maximumFlows, 1])
        #expect(sent.flatMap(\.flows) == flows)
        #expect(sent.map(\.observedAtMilliseconds) == [5, 5])
    }

    @Test("IPv4 and IPv6 flows have separate batches") func familiesHaveBatchesOfTheirOwn() async throws {
        let sent = try await sent(batches: 2) { batcher in
            for number in 0..<6 {
                batcher.append(.test(number, isIPv4: number.isMultiple(of: 2)), observedAtMilliseconds: 1)
            }
            batcher.flush()
        }
        #expect(sent.map { $0.flows.map(\.isIPv4) } == [[true, true, true], [false, false, false]])
    }

    @Test("a flush without flows sends no batch") func flushingNothingSendsNothing() async throws {
        let sent = try await sent(batches: 1) { batcher in
            batcher.flush()
            batcher.append(.test(1), observedAtMilliseconds: 1)
            batcher.flush()
            batcher.flush()
        }
        #expect(sent.map(\.sequence) == [1])
    }

    /// Returns the batches that a server receives when `use` fills a batcher.
    private func sent(batches: Int, _ use: (inout FlowBatcher) -> Void) async throws -> [SentBatch] {
        let server = try await RecordingServer.start()
        let exporter = FlowExporter(
            configuration: .init(host: "127.0.0.1", port: server.port),
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        exporter.start()
        var batcher = FlowBatcher(exporter: exporter, source: .scrape)
        use(&batcher)
        return try await server.connection(0).batches(batches).map { try SentBatch(message: $0) }
    }
}
