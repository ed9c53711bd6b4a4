// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import TestSupport
import Testing

@testable import ClickHouse

extension ClickHouseClient.Configuration {
    /// Makes a configuration for a test's own database.
    init(_ database: TestDatabase) {
        self.init(
            endpoints: [database.url], database: database.name,
            credentials: .fixed(user: database.user, password: database.password))
    }
}

/// Runs `body` with a client and returns its result or the error that it throws.
func withClient<Result: Sendable>(
    _ configuration: ClickHouseClient.Configuration, cancellation: HTTPCancellation? = nil,
    _ body: @escaping @Sendable (borrowing ClickHouseClient) throws(ClickHouseError) -> Result
) async throws -> Swift.Result<Result, ClickHouseError> {
    try await onThread {
        let client = ClickHouseClient(configuration, cancellation: cancellation)
        do throws(ClickHouseError) { return .success(try body(client)) } catch { return .failure(error) }
    }
}

/// Returns the result of an insert with the given response.
private func insert(answer: RawHTTPServer.Answer) async throws -> Swift.Result<Bool, ClickHouseError> {
    let server = try RawHTTPServer { _, _ in answer }
    return try await withClient(ClickHouseClient.Configuration(endpoints: [server.url])) {
        client throws(ClickHouseError) in
        try client.insert("INSERT INTO t FORMAT Native", ClickHouseClient.Body([1]))
        return true
    }
}

private let memory =
    "Code: 241. DB::Exception: Memory limit (total) exceeded: would use 8.00 GiB. (MEMORY_LIMIT_EXCEEDED)"

@Suite struct ClickHouseClientTests {
    @Test("a query returns its result, and an insert stores its rows")
    func aStatementAnswersAndAnInsertInserts() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let answer = try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            _ = try client.query("CREATE TABLE t (number UInt64, text String) ENGINE = MergeTree ORDER BY number")
            try client.insert(
                "INSERT INTO t (number, text) FORMAT TabSeparated", .init(Array("7\tä & b\n8\t%41+\n".utf8)),
                settings: [("max_partitions_per_insert_block", "1")])
            return try client.query("SELECT currentDatabase(), number, text FROM t ORDER BY number")
        }
        #expect(try answer.get() == "\(database.name)\t7\tä & b\n\(database.name)\t8\t%41+\n")
    }

    @Test(
        "an exception of ClickHouse has its code and failure class",
        arguments: [
            ("SELEKT 1", 62, .operator), ("SELECT * FROM missing", 60, .operator),
            ("SELECT missing FROM system.one", 47, .operator), ("SELECT 1 SETTINGS nonsense = 1", 115, .operator),
            ("SELECT throwIf(1)", 395, .transient), ("SELECT toUInt8('x')", 6, .content),
        ] as [(String, Int, FailureClass)])
    func anExceptionHasItsCode(sql: String, code: Int, failureClass: FailureClass) async throws {
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
        #expect(error.failureClass == failureClass)
    }

    @Test("the settings of an insert are sent with it") func aSettingTravelsWithItsInsertOnly() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let result = try await withClient(ClickHouseClient.Configuration(database)) { client throws(ClickHouseError) in
            try client.insert("INSERT INTO t FORMAT TabSeparated", .init([]), settings: [("nonsense", "1")])
            return true
        }
        guard case .failure(.exception(115, _)) = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test(
        "an exception is found in the header, before, in and after the body",
        arguments: [
            // An exception before the first byte of a response, after it, after rows, and from another server.
            (.status(500, headers: ["X-ClickHouse-Exception-Code: 241"], memory), 241),
            (.status(200, headers: ["X-ClickHouse-Exception-Code: 241"], memory), 241),
            (.clickHouse(200, memory), 241),
            (.clickHouse(200, "\r\n__exception__\r\nabcdefgh\r\n\(memory)\r\n123 abcdefgh\r\n__exception__\r\n"), 241),
            (.clickHouse(200, memory + ". DB::Exception: Received from b:9000. Code: 60. DB::Exception: nested"), 241),
            (.status(500, headers: ["x-clickhouse-exception-code: 60"], ""), 60),
        ] as [(RawHTTPServer.Answer, Int)])
    func anExceptionIsFoundWhereverItStands(answer: RawHTTPServer.Answer, code: Int) async throws {
        guard case .failure(.exception(let found, _)) = try await insert(answer: answer) else {
            Issue.record("the insert did not fail with an exception")
            return
        }
        #expect(found == code)
    }

    @Test(
        "a response that is not from ClickHouse is an error with its status",
        arguments: [
            (.status(502, "<html>Bad Gateway</html>"), 502, .transient),
            (.status(401, "who are you?"), 401, .operator), (.status(429, "slowly"), 429, .transient),
            (.status(302, headers: ["Location: /login"], ""), 302, .transient),
            (.status(200, "<html>Please log in</html>"), 200, .transient), (.status(200), 200, .transient),
        ] as [(RawHTTPServer.Answer, Int, FailureClass)])
    func whatIsNotClickHouseIsNotTakenForIt(
        answer: RawHTTPServer.Answer, status: Int, failureClass: FailureClass
    ) async throws {
        let result = try await insert(answer: answer)
        guard case .failure(let error) = result, case .unexpectedAnswer(_, status, _, _) = error else {
            Issue.record("\(result)")
            return
        }
        #expect(error.failureClass == failureClass)
        #expect("\(error)".contains("a response that is not ClickHouse's"))
    }

    @Test("the error contains the delay that Retry-After asks for") func whatAnEndpointAsksForIsTold() async throws {
        let result = try await insert(answer: .status(429, headers: ["Retry-After: 7"], "slowly"))
        guard case .failure(.unexpectedAnswer(_, 429, _, .seconds(7))) = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test("a cancelled client sends no request") func aClientThatIsCancelledAsksNothing() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        let cancellation = HTTPCancellation()
        cancellation.cancel()
        let result = try await withClient(
            ClickHouseClient.Configuration(endpoints: [server.url]), cancellation: cancellation
        ) { client throws(ClickHouseError) in try client.query("SELECT 1") }
        guard case .failure(.unreachable(_, let cause)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(cause.kind == .cancelled && server.requests.isEmpty)
    }

    @Test("the error of an unreachable ClickHouse names the endpoint") func noAnswerNamesTheEndpoint() async throws {
        let endpoint = try RawHTTPServer.closedURL()
        let result = try await withClient(ClickHouseClient.Configuration(endpoints: [endpoint])) {
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

    @Test("credentials are sent in headers only") func credentialsTravelInHeadersOnly() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        let configuration = ClickHouseClient.Configuration(
            endpoints: [server.url], database: "d&b=",
            credentials: .fixed(user: "kübe", password: "s3cret: & %41\""), headers: ["X-Route": "a b", "X-B": "1"])
        _ = try await withClient(configuration) { client throws(ClickHouseError) in
            _ = try client.query("SELECT 1")
            try client.insert("INSERT INTO `t` (a) FORMAT Native", .init([1, 2]), settings: [("a+b", "c d&e=ü%/?#")])
        }.get()
        let (query, insert) = (try #require(server.requests.first), try #require(server.requests.last))
        for request in server.requests {
            #expect(request.headers["x-clickhouse-user"] == "kübe")
            #expect(request.headers["x-clickhouse-key"] == "s3cret: & %41\"")
            #expect(request.headers["authorization"] == nil)
            #expect(request.headers["user-agent"] == "kubenetmon")
            #expect(request.headers["x-route"] == "a b")
            #expect(!request.target.contains("s3cret") && !request.target.contains("k%C3%BCbe"))
            #expect(request.parameter("database") == "d&b=")
        }
        #expect(query.body == Array("SELECT 1".utf8))
        #expect(insert.body == [1, 2])
        #expect(insert.parameter("query") == "INSERT INTO `t` (a) FORMAT Native")
        #expect(insert.parameter("a+b") == "c d&e=ü%/?#")
    }

    @Test("without credentials, no header for them is sent")
    func withoutCredentialsThereAreNoHeadersForThem() async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        _ = try await withClient(ClickHouseClient.Configuration(endpoints: [server.url])) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }.get()
        #expect(server.requests.first?.headers.keys.contains { $0.hasPrefix("x-clickhouse") } == false)
    }

    @Test("a query goes to the next endpoint if one is unreachable or busy")
    func aQuestionGoesToTheNextEndpointWhereOneCannotAnswer() async throws {
        let broken = try RawHTTPServer { _, _ in .status(503, "busy") }
        let working = try RawHTTPServer { _, _ in .clickHouse(200, "here") }
        let configuration = ClickHouseClient.Configuration(
            endpoints: [try RawHTTPServer.closedURL(), broken.url, working.url])
        let answers = try await withClient(configuration) { client throws(ClickHouseError) in
            [try client.query("SELECT 1"), try client.query("SELECT 2"), client.endpoint]
        }.get()
        #expect(answers == ["here", "here", working.url])
        // The client stays at the endpoint that responded.
        #expect(broken.requests.count == 1 && working.requests.count == 2)
        let refused = try await withClient(
            ClickHouseClient.Configuration(endpoints: [try RawHTTPServer.closedURL(), broken.url])
        ) { client throws(ClickHouseError) in try client.query("SELECT 1") }
        #expect(refused == .failure(.unexpectedAnswer(endpoint: broken.url, status: 503, body: "busy")))
    }

    @Test("a query that ClickHouse rejects is not sent to another endpoint")
    func whatIsWrongWithAQuestionIsWrongEverywhere() async throws {
        let first = try RawHTTPServer { _, _ in
            .clickHouse(404, headers: ["X-ClickHouse-Exception-Code: 60"], "Code: 60. DB::Exception: no")
        }
        let second = try RawHTTPServer { _, _ in .clickHouse(200) }
        let result = try await withClient(ClickHouseClient.Configuration(endpoints: [first.url, second.url])) {
            client throws(ClickHouseError) in
            try client.query("SELECT 1")
        }
        #expect(result == .failure(.exception(code: 60, message: "Code: 60. DB::Exception: no")))
        #expect(second.requests.isEmpty)
    }

    @Test("Content-Encoding names the compression of the body", arguments: InsertCompression.allCases)
    func aBodyNamesItsCompression(compression: InsertCompression) async throws {
        let server = try RawHTTPServer { _, _ in .clickHouse(200) }
        try await withClient(ClickHouseClient.Configuration(endpoints: [server.url])) {
            client throws(ClickHouseError) in
            try client.insert("INSERT INTO t FORMAT Native", .init([1], compression: compression))
        }.get()
        let expected: String? = compression == .none ? nil : "\(compression)"
        #expect(server.requests.first?.headers["content-encoding"] == expected)
    }
}
