// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import TestSupport
import Testing

/// Performs one exchange with a client of its own.
private func perform(
    _ url: String, _ method: HTTPRequest.Method = .get, headers: [(name: String, value: String)] = [],
    timeoutMilliseconds: Int = 300_000
) async throws -> HTTPResponse {
    try await onThread {
        try HTTPClient().perform(
            HTTPRequest(
                method, url: url, headers: headers, timeoutMilliseconds: timeoutMilliseconds,
                connectTimeoutMilliseconds: timeoutMilliseconds))
    }
}

/// Returns the error of one exchange; nil if there is a response.
private func failure(_ url: String, timeoutMilliseconds: Int = 300_000) async throws -> HTTPError? {
    do {
        _ = try await perform(url, timeoutMilliseconds: timeoutMilliseconds)
        return nil
    } catch let error as HTTPError {
        return error
    }
}

extension RawHTTPServer {
    /// Starts a server that gives the same response to every request.
    fileprivate convenience init(answering answer: Answer) throws {
        try self.init { _, _ in answer }
    }
}

@Suite struct HTTPClientTests {
    @Test("method, URL, headers and body arrive unchanged") func aRequestArrivesAsItWasMade() async throws {
        let server = try RawHTTPServer(
            answering: .status(200, headers: ["X-Reply:  yes ", "x-twice: 1", "X-Twice: 2"], "hello"))
        // Above a mebibyte, libcurl would wait a second for "100 Continue".
        let body = [UInt8](repetitionsOf: [UInt8](0...255), count: 8_000)
        let response = try await perform(
            "\(server.url)/a/b?c=%20", .post(body), headers: [("X-One", "1 "), ("X-Two", "ü")])
        #expect(response.status == 200)
        #expect(response.text == "hello")
        #expect(response.headers["x-reply"] == "yes ")
        #expect(response.headers["x-twice"] == "2")
        let request = try #require(server.requests.first)
        #expect(request.method == "POST")
        #expect(request.target == "/a/b?c=%20")
        #expect(request.headers["x-one"] == "1")
        #expect(request.headers["x-two"] == "ü")
        #expect(request.headers["expect"] == nil)
        #expect(request.body == body)
    }

    @Test("an empty body is sent with a length of 0") func anEmptyBodyIsABody() async throws {
        let server = try RawHTTPServer(answering: .status(200))
        #expect(try await perform(server.url, .post([])).body == [])
        #expect(server.requests.first?.headers["content-length"] == "0")
        #expect(try await perform(server.url).status == 200)
        #expect(server.requests.last?.method == "GET")
    }

    @Test("a response with any status is returned", arguments: [204, 302, 404, 500, 503])
    func anyStatusIsAnAnswer(status: Int) async throws {
        let server = try RawHTTPServer(
            answering: .status(status, headers: ["Location: http://192.0.2.1/"], status == 204 ? "" : "why"))
        let response = try await perform(server.url)
        #expect(response.status == status)
        #expect(response.text == (status == 204 ? "" : "why"))
        #expect(server.requests.count == 1)
    }

    @Test(
        "unusual but valid responses are parsed",
        arguments: [
            ("HTTP/1.1 100 Continue\r\nX-B: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok", "ok"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "ok"),
            ("HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B:\r\nContent-Length: 0\r\n\r\n", ""),
        ])
    func oddAnswersAreUnderstood(answer: String, body: String) async throws {
        let response = try await perform(try RawHTTPServer(answering: .bytes(answer)).url)
        #expect(response.status == 200)
        #expect(response.headers["x-a"] == "1")
        #expect(["", nil].contains(response.headers["x-b"]))
        #expect(response.text == body)
    }

    @Test("a client reuses its connection") func theConnectionIsKept() async throws {
        let server = try RawHTTPServer { _, number in .status(200, "\(number)") }
        let url = server.url
        let texts = try await onThread {
            let client = HTTPClient()
            return try [HTTPRequest.Method.get, .post([1]), .post([])].map { method in
                try client.perform(
                    HTTPRequest(method, url: url, timeoutMilliseconds: 300_000, connectTimeoutMilliseconds: 300_000)
                ).text
            }
        }
        #expect(texts == ["0", "1", "2"])
        #expect(server.connections == 1)
    }

    @Test(
        "a broken response is an error of the right kind",
        arguments: [
            (RawHTTPServer.Answer.hangUp, HTTPError.Kind.connection),
            (.bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), .timeout),
            (.bytes("this is not HTTP\r\n\r\n"), .badRequest),
            (.silence, .timeout),
        ])
    func aBrokenAnswerIsNoAnswer(answer: RawHTTPServer.Answer, kind: HTTPError.Kind) async throws {
        let error = try await failure(
            try RawHTTPServer(answering: answer).url, timeoutMilliseconds: kind == .timeout ? 300 : 300_000)
        #expect(error?.kind == kind)
        #expect(error?.message.isEmpty == false)
    }

    @Test("an error without a response names the host or the mistake in the URL")
    func noAnswerHasAReason() async throws {
        let refused = try await failure(try RawHTTPServer.closedURL())
        #expect(refused?.kind == .connection)
        #expect(refused?.description.contains("127.0.0.1") == true)
        let unresolvable = try await failure("http://name.invalid/")
        #expect(unresolvable?.kind == .connection)
        #expect(unresolvable?.description.contains("name.invalid") == true)
        for url in ["", "http://", "ftp://127.0.0.1/", "file:///etc/hosts", "http://a b/"] {
            #expect(try await failure(url)?.kind == .badRequest, "\(url)")
        }
    }

    @Test("a client can be used again after a timeout") func aTimedOutClientCanBeUsedAgain() async throws {
        let server = try RawHTTPServer { request, _ in request.target == "/first" ? .silence : .status(200, "second") }
        let url = server.url
        let (first, second) = try await onThread {
            let client = HTTPClient()
            func request(_ path: String, _ milliseconds: Int) -> HTTPRequest {
                HTTPRequest(
                    .get, url: url + path, timeoutMilliseconds: milliseconds, connectTimeoutMilliseconds: 300_000)
            }
            var first: HTTPError?
            do throws(HTTPError) { _ = try client.perform(request("/first", 200)) } catch { first = error }
            return (first, try client.perform(request("/second", 300_000)).text)
        }
        #expect(first?.kind == .timeout)
        #expect(second == "second")
    }

    @Test("a response above the size limit is an error, and the next one is returned")
    func anAnswerLargerThanTheBoundIsRefusedAndTheNextIsTaken() async throws {
        let database = try await TestDatabase.make(withTable: false)
        let url = database.url
        let headers = [("X-ClickHouse-User", database.user), ("X-ClickHouse-Key", database.password)]
            .filter { !$0.1.isEmpty }
        let limit = HTTPClient.maximumResponseBytes
        let outcomes = try await onThread {
            let client = HTTPClient()
            return [limit, limit + 1, 10].map { size -> String in
                let sql = "SELECT 'x' FROM numbers(\(size)) FORMAT RawBLOB"
                do throws(HTTPError) {
                    let response = try client.perform(
                        HTTPRequest(
                            .post(Array(sql.utf8)), url: url, headers: headers, timeoutMilliseconds: 300_000,
                            connectTimeoutMilliseconds: 300_000))
                    return "\(response.status) \(response.body.count)"
                } catch {
                    return "\(error.kind)"
                }
            }
        }
        #expect(outcomes == ["200 \(limit)", "responseTooLarge", "200 10"])
    }
}
