// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import TestSupport
import Testing

@testable import ClickHouse

extension ClickHouseClient.Configuration {
    /// The way to a test's own database.
    init(_ database: TestDatabase) {
        self.init(endpoint: database.url, database: database.name, user: database.user, password: database.password)
    }
}

/// What `body` makes of a client, or the error that it throws.
func withClient<Result: Sendable>(
    _ configuration: ClickHouseClient.Configuration,
    _ body: @escaping @Sendable (borrowing ClickHouseClient) throws(ClickHouseError) -> Result
) async throws -> Swift.Result<Result, ClickHouseError> {
    try await onThread {
        let client = ClickHouseClient(configuration)
        do throws(ClickHouseError) { return .success(try body(client)) } catch { return .failure(error) }
    }
}

/// What becomes of an insert that is answered so.
private func insert(answer: RawHTTPServer.Answer) async throws -> Swift.Result<Bool, ClickHouseError> {
    let server = try RawHTTPServer { _, _ in answer }
    return try await withClient(ClickHouseClient.Configuration(endpoint: server.url)) {
        client throws(ClickHouseError) in
        try client.insert("INSERT INTO t FORMAT Native", data: [1], settings: [])
        return true
    }
}

private let memory =
    "Code: 241. DB::Exception: Memory limit (total) exceeded: would use 8.00 GiB. (MEMORY_LIMIT_EXCEEDED)"

@Suite struct ClickHouseClientTests {
    @Test func aStatementAnswersAndAnInsertInserts() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let answer = try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            _ = try client.query("CREATE TABLE t (number UInt64, text String) ENGINE = MergeTree ORDER BY number")
            try client.insert(
                "INSERT INTO t (number, text) FORMAT TabSeparated", data: Array("7\tä & b\n8\t%41+\n".utf8),
                settings: [("max_partitions_per_insert_block", "1")])
            return try client.query("SELECT currentDatabase(), number, text FROM t ORDER BY number")
        }
        #expect(try answer.get() == "\(database.name)\t7\tä & b\n\(database.name)\t8\t%41+\n")
    }

    @Test(arguments: [
        ("SELEKT 1", 62, false), ("SELECT * FROM missing", 60, true), ("SELECT missing FROM system.one", 47, true),
        ("SELECT 1 SETTINGS nonsense = 1", 115, true), ("SELECT throwIf(1)", 395, false),
    ])
    func anExceptionHasItsCode(sql: String, code: Int, needsOperator: Bool) async throws {
        let database = try await TestDatabase.make(withTable: false)
        let result = try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            try client.query(sql)
        }
        guard case .failure(let error) = result, case .exception(code, let message) = error else {
            Issue.record("\(result)")
            return
        }
        #expect(message.hasPrefix("Code: \(code). DB::Exception: "))
        #expect(!message.contains("\n"))
        #expect(error.needsOperator == needsOperator)
    }

    @Test func aSettingTravelsWithItsInsertOnly() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let result = try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            try client.insert("INSERT INTO t FORMAT TabSeparated", data: [], settings: [("nonsense", "1")])
            return true
        }
        guard case .failure(.exception(115, _)) = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test(
        arguments: [
            // As before the first byte of an answer, as behind it, as behind rows, and as another server's.
            (.status(500, headers: ["X-ClickHouse-Exception-Code: 241"], memory), 241),
            (.status(200, headers: ["X-ClickHouse-Exception-Code: 241"], memory), 241),
            (.clickHouse(200, memory), 241),
            (.clickHouse(200, "\r\n__exception__\r\nabcdefgh\r\n\(memory)\r\n123 abcdefgh\r\n__exception__\r\n"), 241),
            (.clickHouse(200, memory + ". DB::Exception: Received from b:9000. Code: 60. DB::Exception: nested"), 241),
            (.status(500, headers: ["x-clickhouse-exception-code: 60"], ""), 60),
        ] as [(RawHTTPServer.Answer, Int)])
    func anExceptionIsFoundWhereverItStands(answer: RawHTTPServer.Answer, code: Int) async throws {
        guard case .failure(.exception(let found, _)) = try await insert(answer: answer) else {
            Issue.record("it is no exception")
            return
        }
        #expect(found == code)
    }

    @Test(
        arguments: [
            (.status(502, "<html>Bad Gateway</html>"), 502, false), (.status(401, "who are you?"), 401, true),
            (.status(429, "slowly"), 429, false), (.status(302, headers: ["Location: /login"], ""), 302, false),
            (.status(200, "<html>Please log in</html>"), 200, false), (.status(200), 200, false),
        ] as [(RawHTTPServer.Answer, Int, Bool)])
    func whatIsNotClickHouseIsNotTakenForIt(
        answer: RawHTTPServer.Answer, status: Int, needsOperator: Bool
    ) async throws {
        let result = try await insert(answer: answer)
        guard case .failure(let error) = result, case .unexpectedAnswer(_, status, _) = error else {
            Issue.record("\(result)")
            return
        }
        #expect(error.needsOperator == needsOperator)
        #expect("\(error)".contains("not as ClickHouse does"))
    }

    @Test func noAnswerNamesTheEndpoint() async throws {
        let endpoint = try RawHTTPServer.closedURL()
        let result = try await withClient(ClickHouseClient.Configuration(endpoint: endpoint)) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }
        guard case .failure(let error) = result, case .unreachable(endpoint, let cause) = error else {
            Issue.record("\(result)")
            return
        }
        #expect(cause.kind == .connection)
        #expect("\(error)".hasPrefix("ClickHouse at \(endpoint) cannot be reached: "))
    }

    @Test func credentialsTravelInHeadersOnly() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        let configuration = ClickHouseClient.Configuration(
            endpoint: server.url, database: "d&b=", user: "kübe", password: "s3cret: & %41\"")
        _ = try await withClient(configuration) { client throws(ClickHouseError) in
            _ = try client.query("SELECT 1")
            try client.insert("INSERT INTO `t` (a) FORMAT Native", data: [1, 2], settings: [("a+b", "c d&e=ü%/?#")])
        }.get()
        let (query, insert) = (try #require(server.requests.first), try #require(server.requests.last))
        for request in server.requests {
            #expect(request.headers["x-clickhouse-user"] == "kübe")
            #expect(request.headers["x-clickhouse-key"] == "s3cret: & %41\"")
            #expect(request.headers["authorization"] == nil)
            #expect(!request.target.contains("s3cret") && !request.target.contains("k%C3%BCbe"))
            #expect(request.parameter("database") == "d&b=")
        }
        #expect(query.body == Array("SELECT 1".utf8))
        #expect(insert.body == [1, 2])
        #expect(insert.parameter("query") == "INSERT INTO `t` (a) FORMAT Native")
        #expect(insert.parameter("a+b") == "c d&e=ü%/?#")
    }

    @Test func withoutCredentialsThereAreNoHeadersForThem() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        _ = try await withClient(ClickHouseClient.Configuration(endpoint: server.url)) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }.get()
        #expect(server.requests.first?.headers.keys.contains { $0.hasPrefix("x-clickhouse") } == false)
    }
}
