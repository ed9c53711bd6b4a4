// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import Testing

@testable import ClickHouse

private func exception(_ code: Int) -> ClickHouseError { .exception(code: code, message: "Code: \(code).") }

private func unexpected(_ status: Int) -> ClickHouseError {
    .unexpectedAnswer(endpoint: "http://proxy", status: status, body: "no")
}

@Suite struct ClickHouseErrorTests {
    @Test(
        arguments: [
            // Whatever time or load may mend.
            (exception(252), "too_many_parts", false), (exception(241), "memory_limit", false),
            (exception(159), "timeout", false), (exception(0), "exception", false),
            (exception(209), "exception", false),
            (exception(242), "exception", false), (exception(999), "exception", false),
            // What somebody must do something about.
            (exception(60), "unknown_table", true), (exception(81), "unknown_table", true),
            (.missingTable(name: "t"), "unknown_table", true),
            (.missingColumns(table: "t", columns: ["a"]), "missing_columns", true),
            (exception(16), "rejected", true), (exception(47), "rejected", true), (exception(115), "rejected", true),
            (exception(164), "rejected", true), (exception(192), "rejected", true), (exception(193), "rejected", true),
            (exception(194), "rejected", true), (exception(497), "rejected", true), (exception(516), "rejected", true),
            (unexpected(502), "unexpected_answer", false), (unexpected(500), "unexpected_answer", false),
            (unexpected(408), "unexpected_answer", false), (unexpected(429), "unexpected_answer", false),
            (unexpected(401), "unexpected_answer", true), (unexpected(404), "unexpected_answer", true),
        ] as [(ClickHouseError, String, Bool)])
    func anErrorHasAReasonAndTellsWhoCanMendIt(error: ClickHouseError, reason: String, needsOperator: Bool) {
        #expect(error.reason == reason)
        #expect(error.needsOperator == needsOperator)
    }

    @Test(arguments: [
        ("ftp://127.0.0.1", "badRequest", true), ("https://", "badRequest", true),
        ("http://name.invalid", "connection", false),
    ])
    func aConnectionThatFailsIsARequestThatMayBeWrong(url: String, reason: String, needsOperator: Bool) async throws {
        let result = try await withClient(ClickHouseClient.Configuration(endpoint: url)) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }
        guard case .failure(let error) = result else {
            Issue.record("there is an answer")
            return
        }
        #expect(error.reason == reason)
        #expect(error.needsOperator == needsOperator)
    }

    @Test func anErrorNamesWhatIsMissingAndWhatMakesIt() {
        #expect(
            "\(ClickHouseError.missingTable(name: "network_flows_0"))"
                == "table network_flows_0 does not exist; create it with deploy/clickhouse/001_network_flows_0.sql")
        let columns = "\(ClickHouseError.missingColumns(table: "t", columns: ["bytes", "packets"]))"
        #expect(columns.contains("table t has no column bytes, packets"))
        #expect(columns.contains("deploy/clickhouse/001_network_flows_0.sql"))
    }
}
