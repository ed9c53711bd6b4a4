// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import TestSupport
import Testing

@testable import ClickHouse

/// Makes the schema of a table on a release of ClickHouse.
private func table(_ deduplication: TableSchema.Deduplication, version: String = "26.9.2.1") throws -> TableSchema {
    try TableSchema(
        table: "t", columnNames: FlowColumn.required.map(\.name), deduplication: deduplication,
        serverVersion: version)
}

/// Returns the settings of a small batch, without its token.
private func settings(
    isAsynchronous: Bool, into deduplication: TableSchema.Deduplication = .plain(window: 0),
    _ viewErrors: ViewErrors = .automatic, version: String = "26.9.2.1"
) throws -> [String: String] {
    let schema = try table(deduplication, version: version)
    let batch = InsertBatch(
        flowBlock(), rows: 2, body: .init([]), into: schema, isAsynchronous ? .always : .never, viewErrors,
        timeoutMilliseconds: 30_000)
    var settings = Dictionary(uniqueKeysWithValues: batch.settings.map { ($0.name, $0.value) })
    #expect(settings.removeValue(forKey: "insert_deduplication_token") == batch.token)
    return settings
}

private let (ignored, viewsToo) = (
    "materialized_views_ignore_errors", "deduplicate_blocks_in_dependent_materialized_views"
)
private let tokens = "update_insert_deduplication_token_in_dependent_materialized_views"

@Suite struct InsertBatchTests {
    @Test("async_insert is set on every insert") func theModeIsAlwaysSaid() throws {
        #expect(
            try settings(isAsynchronous: false)
                == ["async_insert": "0", "optimize_on_insert": "0", viewsToo: "1", ignored: "1"])
        #expect(
            try settings(isAsynchronous: true)
                == [
                    "async_insert": "1", "optimize_on_insert": "0", viewsToo: "1", ignored: "1",
                    // ClickHouse stops waiting before the client does.
                    "wait_for_async_insert": "1", "wait_for_async_insert_timeout": "20",
                ])
    }

    @Test("asynchronous inserts into a replicated table set async_insert_deduplicate")
    func replicasKnowAsynchronousInsertsByTheirTokens() throws {
        #expect(try settings(isAsynchronous: true, into: .replicated(window: 1))["async_insert_deduplicate"] == "1")
        #expect(try settings(isAsynchronous: false, into: .replicated(window: 1))["async_insert_deduplicate"] == nil)
    }

    @Test("errors of views are ignored unless the table deduplicates a retry")
    func viewErrors() throws {
        let cases: [(TableSchema.Deduplication, isAsynchronous: Bool, isIgnored: String)] = [
            (.plain(window: 0), false, "1"), (.plain(window: 1), false, "0"), (.plain(window: 1), true, "1"),
            (.replicated(window: 1), true, "0"), (.replicated(window: 0), false, "1"), (.hidden, false, "1"),
            (.unknown(engine: "Distributed"), false, "1"),
        ]
        for (deduplication, isAsynchronous, isIgnored) in cases {
            #expect(try settings(isAsynchronous: isAsynchronous, into: deduplication)[ignored] == isIgnored)
            #expect(try settings(isAsynchronous: isAsynchronous, into: deduplication, .ignored)[ignored] == "1")
            #expect(try settings(isAsynchronous: isAsynchronous, into: deduplication, .retried)[ignored] == "0")
        }
    }

    @Test("inserts set only what the ClickHouse release supports")
    func releases() throws {
        #expect(try settings(isAsynchronous: false, version: "23.2.1.1")[ignored] == nil)
        #expect(try settings(isAsynchronous: false, version: "23.3.1.1")[ignored] == "1")
        // If views have no tokens of their own, the second view into one table loses its rows.
        for (version, isAsynchronous, reachesViews, setsTokens) in [
            ("23.8.1.1", false, nil, nil), ("24.1.1.1", false, nil, nil), ("24.2.1.1", false, "1", "1"),
            ("25.12.1.1", false, "1", "1"), ("26.1.1.1", false, "1", nil),
            // This release rejects the setting with exception 344.
            ("25.12.1.1", true, "0", nil), ("26.1.1.1", true, "1", nil),
        ] as [(String, Bool, String?, String?)] {
            let settings = try settings(isAsynchronous: isAsynchronous, version: version)
            #expect(settings[viewsToo] == reachesViews && settings[tokens] == setsTokens)
        }
    }

    @Test("errors of views are ignored unless the ClickHouse release passes a retry on to the view")
    func releasesOfViewErrors() throws {
        for (deduplication, isAsynchronous, version, isIgnored) in [
            (.replicated(window: 1), true, "25.12.1.1", "1"), (.replicated(window: 1), true, "26.1.1.1", "0"),
            (.replicated(window: 1), false, "25.12.1.1", "0"), (.plain(window: 1), false, "23.8.1.1", "1"),
            (.plain(window: 1), false, "24.2.1.1", "0"),
        ] as [(TableSchema.Deduplication, Bool, String, String)] {
            #expect(
                try settings(isAsynchronous: isAsynchronous, into: deduplication, version: version)[ignored]
                    == isIgnored)
        }
    }

    @Test(
        "only small batches that cannot become duplicates are inserted asynchronously",
        arguments: [
            (.automatic, 9_999, .plain(window: 0), "26.9.2.1", true),
            (.automatic, 10_000, .plain(window: 0), "26.9.2.1", false),
            (.automatic, 1, .plain(window: 1), "26.9.2.1", false),
            (.automatic, 1, .replicated(window: 1), "26.1.1.1", true),
            // A retry would not reach the table's views.
            (.automatic, 1, .replicated(window: 1), "25.12.1.1", false),
            (.automatic, 1, .unknown(engine: "Distributed"), "25.12.1.1", true),
            (.automatic, 1, .hidden, "26.9.2.1", false),
            (.always, 1_000_000, .plain(window: 1), "26.9.2.1", true),
            (.always, 1, .replicated(window: 1), "25.12.1.1", true),
            (.never, 1, .plain(window: 0), "26.9.2.1", false),
        ] as [(AsyncInsert, Int, TableSchema.Deduplication, String, Bool)])
    func smallBatchesAreGatheredWhereNoDuplicateCanComeOfIt(
        mode: AsyncInsert, rows: Int, deduplication: TableSchema.Deduplication, version: String, isAsynchronous: Bool
    ) throws {
        #expect(mode.isAsynchronous(rows: rows, into: try table(deduplication, version: version)) == isAsynchronous)
    }

    @Test("ClickHouse accepts asynchronous and synchronous inserts", arguments: [AsyncInsert.always, .never])
    func theEngineTakesBothModes(mode: AsyncInsert) async throws {
        let database = try await TestDatabase.make()
        let test = try InserterUnderTest(ClickHouseClient.Configuration(database)) { $0.asyncInsert = mode }
        test.submit(1)
        #expect(await test.inserter.drain(timeout: .seconds(300)) == 0)
        #expect(try await database.rows("SELECT count(), sum(bytes) FROM network_flows_0") == [["2", "300"]])
    }
}
