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
        "an error has a reason for the metrics and a failure class",
        arguments: [
            // Failures that may pass by themselves, and unknown codes.
            (exception(252), "too_many_parts", .transient), (exception(241), "memory_limit", .transient),
            (exception(159), "timeout", .transient), (exception(202), "exception", .transient),
            (exception(242), "exception", .transient), (exception(319), "exception", .transient),
            (exception(999), "exception", .transient), (exception(0), "exception", .transient),
            (exception(123_456), "exception", .transient),
            (unexpected(502), "unexpected_answer", .transient), (unexpected(500), "unexpected_answer", .transient),
            (unexpected(408), "unexpected_answer", .transient), (unexpected(429), "unexpected_answer", .transient),
            // Failures that need an operator.
            (exception(60), "unknown_table", .operator), (exception(81), "unknown_table", .operator),
            (.missingTable(name: "t"), "unknown_table", .operator),
            (.missingColumns(table: "t", columns: ["a"]), "missing_columns", .operator),
            (.unreadableCredentials("denied"), "credentials", .operator),
            (exception(16), "rejected", .operator), (exception(47), "rejected", .operator),
            (exception(115), "rejected", .operator), (exception(164), "rejected", .operator),
            (exception(192), "rejected", .operator), (exception(193), "rejected", .operator),
            (exception(194), "rejected", .operator), (exception(497), "rejected", .operator),
            (exception(516), "rejected", .operator),
            (unexpected(401), "unexpected_answer", .operator), (unexpected(404), "unexpected_answer", .operator),
            // Failures that nothing can fix.
            (exception(27), "refused_data", .content), (exception(26), "refused_data", .content),
            (exception(53), "refused_data", .content), (exception(117), "refused_data", .content),
            (exception(131), "refused_data", .content), (exception(321), "refused_data", .content),
            (exception(618), "refused_data", .content), (unexpected(413), "too_large", .content),
            // Failures that the owner of a view can fix, whatever the code.
            (.failingView(name: "d.v", code: 469, message: "no"), "failing_view", .view),
            (.failingView(name: "d.v", code: 395, message: "no"), "failing_view", .view),
            (.failingView(name: "d.v", code: 241, message: "no"), "failing_view", .transient),
        ] as [(ClickHouseError, String, FailureClass)])
    func anErrorHasAReasonAndTellsWhatCanMendIt(error: ClickHouseError, reason: String, failureClass: FailureClass) {
        #expect(error.reason == reason)
        #expect(error.failureClass == failureClass)
    }

    @Test(
        "a failed connection is transient, and a malformed URL needs an operator",
        arguments: [
            ("ftp://127.0.0.1", "badRequest", .operator), ("https://", "badRequest", .operator),
            ("http://name.invalid", "connection", .transient),
        ] as [(String, String, FailureClass)])
    func aConnectionThatFailsIsARequestThatMayBeWrong(
        url: String, reason: String, failureClass: FailureClass
    ) async throws {
        let result = try await withClient(ClickHouseClient.Configuration(endpoints: [url])) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }
        guard case .failure(let error) = result else {
            Issue.record("the request succeeded")
            return
        }
        #expect(error.reason == reason)
        #expect(error.failureClass == failureClass)
    }

    @Test("an error about a missing table or column names the SQL file that creates it")
    func anErrorNamesWhatIsMissingAndWhatMakesIt() {
        #expect(
            "\(ClickHouseError.missingTable(name: "network_flows_0"))"
                == """
                table network_flows_0 does not exist; create it with kubenetmon-server migrate or \
                deploy/clickhouse/001_network_flows_0.sql, or set clickhouse_migrate: auto
                """)
        let columns = "\(ClickHouseError.missingColumns(table: "t", columns: ["bytes", "packets"]))"
        #expect(columns.contains("table t has no column bytes, packets"))
        #expect(columns.contains("deploy/clickhouse/001_network_flows_0.sql"))
    }

    @Test("an error tells whether the rows may be in the table")
    func mayBeStored() {
        func unreachable(wasSent: Bool) -> ClickHouseError {
            .unreachable(endpoint: "e", HTTPError(kind: .connection, message: "no", wasSent: wasSent))
        }
        for error in [
            unreachable(wasSent: true), exception(159), exception(319), unexpected(502),
            .failingView(name: "d.v", code: 395, message: "no"),
        ] {
            #expect(error.mayBeStored, "\(error)")
        }
        for error in [unreachable(wasSent: false), exception(60), exception(117), unexpected(413), unexpected(401)] {
            #expect(!error.mayBeStored, "\(error)")
        }
    }
}
