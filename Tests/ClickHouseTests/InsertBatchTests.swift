// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import ClickHouse

private func settings(
    isAsynchronous: Bool, into deduplication: TableSchema.Deduplication = .plain(window: 0)
) -> [String: String] {
    Dictionary(
        uniqueKeysWithValues: InsertBatch.settings(
            token: "t", isAsynchronous: isAsynchronous, into: deduplication, timeoutMilliseconds: 30_000
        ).map { ($0.name, $0.value) })
}

@Suite struct InsertBatchTests {
    @Test func theModeIsAlwaysSaid() {
        #expect(
            settings(isAsynchronous: false)
                == ["async_insert": "0", "optimize_on_insert": "0", "insert_deduplication_token": "t"])
        #expect(
            settings(isAsynchronous: true)
                == [
                    "async_insert": "1", "optimize_on_insert": "0", "insert_deduplication_token": "t",
                    // ClickHouse gives up waiting before the client does.
                    "wait_for_async_insert": "1", "wait_for_async_insert_timeout": "20",
                ])
    }

    @Test func replicasKnowAsynchronousInsertsByTheirTokens() {
        #expect(settings(isAsynchronous: true, into: .replicated(window: 1))["async_insert_deduplicate"] == "1")
        #expect(settings(isAsynchronous: false, into: .replicated(window: 1))["async_insert_deduplicate"] == nil)
    }

    @Test(
        arguments: [
            (.automatic, 9_999, .plain(window: 0), true), (.automatic, 10_000, .plain(window: 0), false),
            (.automatic, 1, .plain(window: 1), false), (.automatic, 1, .replicated(window: 1), true),
            (.automatic, 1, .unknown(engine: "Distributed"), true), (.automatic, 1, .hidden, false), (.always, 1_000_000, .plain(window: 1), true),
            (.never, 1, .plain(window: 0), false),
        ] as [(AsyncInsert, Int, TableSchema.Deduplication, Bool)])
    func smallBatchesAreGatheredWhereNoDuplicateCanComeOfIt(
        mode: AsyncInsert, rows: Int, deduplication: TableSchema.Deduplication, isAsynchronous: Bool
    ) {
        #expect(mode.isAsynchronous(rows: rows, into: deduplication) == isAsynchronous)
    }

    @Test(arguments: [AsyncInsert.always, .never]) func theEngineTakesBothModes(mode: AsyncInsert) async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) { $0.asyncInsert = mode }
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["2", "300"]])
    }
}
