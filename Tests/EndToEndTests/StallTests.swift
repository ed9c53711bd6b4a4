// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEndTests {
    /// The load would fill the memory for waiting blocks three times.
    @Test("a stall of ClickHouse under load keeps memory bounded and loses no rows")
    func aClickHouseThatStallsUnderLoadCostsNeitherMemoryNorRows() async throws {
        let (bound, megabyte) = (8 << 20, 1_000_000)
        let (agents, batchesPerAgent) = (8, 44)
        let flows = agents * batchesPerAgent * EagerAgent.flowsPerBatch
        #expect(flows * 72 > 3 * bound)

        let database = try await TestDatabase.make()
        let isStalled = Mutex(true)
        let proxy = try FaultyProxy.start(before: database.url) { request, _ in
            while request.parameter("query")?.hasPrefix("INSERT") == true, isStalled.withLock({ $0 }) {
                Thread.sleep(forTimeInterval: 0.02)
            }
            return .none
        }
        let server = try ServerUnderTest.start(
            database, endpoint: proxy.url,
            extraKeys: "clickhouse_max_queued_bytes: \(bound)\nclickhouse_batch_size: 20000\nclickhouse_timeout: 1h")
        try await server.waitUntilReady()
        let senders = (0..<agents).map { _ in EagerAgent() }
        async let sending: Void = withThrowingTaskGroup(of: Void.self) { group in
            for (number, sender) in senders.enumerated() {
                group.addTask { try await sender.send(0..<batchesPerAgent, as: UInt32(number)) }
            }
            try await group.waitForAll()
        }

        try await eventually("backpressure begins") {
            try await server.backpressureSeconds() > 0
        }
        var batches: UInt64 = 0
        try await eventually("all batches in flight have arrived") {
            let before = batches
            batches = try await server.metric("kubenetmon_server_batches_total")
            return batches == before
        }
        #expect(batches < agents * batchesPerAgent / 2)
        #expect(try await server.metric("kubenetmon_worker_inserted_bytes_total") == 0)
        #expect(senders.allSatisfy { $0.acknowledgedBatches == 0 })

        isStalled.withLock { $0 = false }
        try await sending
        try await eventually("every batch is acknowledged") {
            senders.allSatisfy { $0.acknowledgedBatches == batchesPerAgent }
        }
        let sums = try await database.rows("SELECT count(), sum(bytes), sum(packets) FROM network_flows_0")
        #expect(sums == [["\(2 * flows)", "\(3_000 * flows)", "\(2 * flows)"]])
        let peak = try server.peakMemoryBytes()
        #expect(peak < bound + 60 * megabyte, "\(peak / megabyte) MB")
        try await server.stop()
    }
}

extension ServerUnderTest {
    /// Returns the server's peak resident memory, in bytes.
    fileprivate func peakMemoryBytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
        guard let kibibytes = status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap({ Int($0.output.1) }) else {
            throw TestEnvironmentError("no VmHWM in \(status)")
        }
        return kibibytes << 10
    }
}
