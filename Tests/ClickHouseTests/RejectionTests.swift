// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import TestSupport
import Testing

@testable import ClickHouse

/// Returns the path of a test's own directory, which does not exist yet.
private func directory() -> URL {
    FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
}

private func files(in directory: URL) -> [URL] {
    (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
}

extension TestDatabase {
    /// Makes a table that rejects rows to port 666.
    fileprivate static func picky() async throws -> TestDatabase {
        let database = try await make()
        try await database.query("ALTER TABLE network_flows_0 ADD CONSTRAINT picky CHECK remotePort != 666")
        return database
    }
}

private func refusedBlock(_ number: Int) -> FlowBlock {
    flowBlock([labeledFlow(podLabels("refused \(number)")), labeledFlow(ports: (1, 666))])
}

@Suite struct RejectionTests {
    @Test(
        "a batch that ClickHouse rejects twice is counted as lost, and the others are stored",
        arguments: InsertCompression.allCases)
    func whatIsRefusedTwiceIsCountedAsLostAndTheRestGoesOn(compression: InsertCompression) async throws {
        let database = try await TestDatabase.picky()
        let directory = directory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.compression = compression
            $0.deadLetters = .init(directory: directory.path)
        }
        test.submit(1)
        test.submit(2, refusedBlock(2))
        test.submit(3)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        // All three are acknowledged, or agents would resend the second forever.
        #expect(test.completed == [1, 2, 3])
        let statistics = test.inserter.statistics
        #expect(test.blocks.stored == .init(blocks: 2, flows: 2, rows: 4, reportedBytes: 600))
        #expect(test.blocks.rejected == ["refused_data": .init(blocks: 1, flows: 2, rows: 4, reportedBytes: 600)])
        #expect(statistics.failedAttempts == ["refused_data": 2])
        #expect(statistics.failedAttemptsByClass == [.content: 2])
        #expect(try await database.rows("SELECT count() FROM network_flows_0") == [["4"]])

        // A dead letter can be inserted by hand.
        let file = try #require(files(in: directory).first)
        #expect(files(in: directory).count == 1)
        #expect(file.lastPathComponent.hasSuffix(".native\(compression.fileSuffix)"))
        let body = ClickHouseClient.Body(Array(try Data(contentsOf: file)), compression: compression)
        try await database.query("ALTER TABLE network_flows_0 DROP CONSTRAINT picky")
        try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            try client.insert("INSERT INTO network_flows_0 FORMAT Native", body)
        }.get()
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["8", "1200"]])
    }

    /// A table that rejects everything must have been changed: its rows are kept.
    @Test("batches are kept after the limit of rejections in a row, until the table is repaired")
    func batchesAreGivenUpOnlyWhileOthersAreTaken() async throws {
        let database = try await TestDatabase.picky()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database), workers: 1)
        let bound = Inserter.maximumRejectionsInARow
        for number in 0..<bound + 2 { test.submit(number, refusedBlock(number)) }
        try await eventually("the limit on rejected batches is reached") {
            test.inserter.statistics.failedAttempts["refused_data", default: 0] >= 2 * bound + 4
        }
        #expect(test.blocks.rejected["refused_data"]?.blocks == UInt64(bound))
        #expect(test.blocks.queuedBlocks == 2)
        try await database.query("ALTER TABLE network_flows_0 DROP CONSTRAINT picky")
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.blocks.stored.blocks == 2)
        #expect(try await database.rows("SELECT count() FROM network_flows_0") == [["8"]])
    }

    @Test("the size limit of the dead-letter directory holds across restarts")
    func theDirectoryIsBoundedAcrossRestarts() async throws {
        let database = try await TestDatabase.picky()
        let directory = directory()
        defer { try? FileManager.default.removeItem(at: directory) }
        var encoder = BlockEncoder()
        let schema = try TableSchema(
            table: "network_flows_0", columnNames: FlowColumn.original.map(\.name))
        let size = encoder.encoded(refusedBlock(0), for: schema, compression: .none).body.bytes.count
        for _ in 0..<2 {
            let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
                $0.compression = .none
                $0.deadLetters = .init(directory: directory.path, maximumBytes: size * 3 / 2)
            }
            test.submit(1, refusedBlock(1))
            #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
            #expect(test.blocks.rejected["refused_data"]?.blocks == 1)
            #expect(files(in: directory).count == 1)
        }
    }

    @Test("a dead-letter directory that is not writable delays no batch")
    func aDirectoryThatCannotBeWrittenHoldsNothingUp() async throws {
        let database = try await TestDatabase.picky()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) {
            $0.deadLetters = .init(directory: "/proc/nowhere")
        }
        test.submit(1, refusedBlock(1))
        test.submit(2)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(test.completed == [1, 2])
    }
}
