// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import Synchronization
import TestSupport
import Testing

private func request(
    _ url: String, timeoutMilliseconds: Int? = 300_000, maximumResponseBytes: Int = 100, maximumRedirects: Int = 0
) -> HTTPRequest {
    HTTPRequest(
        .get, url: url, timeoutMilliseconds: timeoutMilliseconds, connectTimeoutMilliseconds: 300_000,
        maximumResponseBytes: maximumResponseBytes, maximumRedirects: maximumRedirects)
}

/// The calls that a stream's consumer received.
private struct Seen: Sendable {
    var heads: [HTTPHead] = []
    var chunks: [String] = []
    var end: Result<HTTPClient.StreamEnd, HTTPError>?

    var text: String { chunks.joined() }

    var failure: HTTPError.Kind? {
        if case .failure(let error) = end { error.kind } else { nil }
    }
}

/// Streams a response; `takes` returns after each step whether to continue.
private func stream(
    _ request: HTTPRequest, cancellation: HTTPCancellation? = nil, silence: Duration? = nil,
    takes: @escaping @Sendable (Seen) -> Bool = { _ in true }
) async throws -> Seen {
    try await onThread {
        var seen = Seen()
        let client = HTTPClient()
        seen.end = Result { () throws(HTTPError) in
            var lastSign = ContinuousClock.now
            return try client.stream(
                request, cancellation: cancellation, silenceEnds: { silence.map { lastSign + $0 } }
            ) {
                head in
                lastSign = .now
                seen.heads.append(head)
                return takes(seen)
            } onBody: { chunk in
                lastSign = .now
                seen.chunks.append(String(decoding: chunk, as: UTF8.self))
                return takes(seen)
            }
        }
        return seen
    }
}

/// Returns the text of a whole response, or the kind of its failure.
private func outcome(
    _ client: borrowing HTTPClient, _ request: HTTPRequest, _ cancellation: HTTPCancellation? = nil
) -> String {
    do {
        return try client.perform(request, cancellation: cancellation).text
    } catch {
        return "\(error.kind)"
    }
}

private let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"

@Suite struct HTTPStreamTests {
    @Test("the head of a stream is reported first and once") func theHeadComesFirstAndOnce() async throws {
        let server = try RawHTTPServer { _, _ in
            .bytes(
                "HTTP/1.1 100 Continue\r\nX-B: 2\r\n\r\n\(chunked)2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n")
        }
        let seen = try await stream(request(server.url))
        #expect(seen.heads == [HTTPHead(status: 200, headers: ["transfer-encoding": "chunked", "x-a": "1"])])
        #expect(seen.text == "ok")
        #expect(seen.end == .success(.complete))
    }

    @Test("chunks are delivered as they arrive") func chunksAreHandedOverAsTheyCome() async throws {
        // The rest of the body is never sent.
        let server = try RawHTTPServer { _, _ in .bytes("\(chunked)5\r\nfirst\r\n6\r\nsecond\r\n") }
        let seen = try await stream(request(server.url)) { !$0.text.hasSuffix("second") }
        #expect(seen.text == "firstsecond")
        #expect(seen.end == .success(.stopped))
    }

    @Test("a head is delivered before any body arrives") func aHeadWithoutABodyYetIsHandedOver() async throws {
        let server = try RawHTTPServer { _, _ in .bytes("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n\r\n") }
        let seen = try await stream(request(server.url)) { $0.heads.isEmpty }
        #expect(seen.heads.first?.status == 429)
        #expect(seen.heads.first?.retryAfter == .seconds(7))
        #expect(seen.end == .success(.stopped))
    }

    @Test(
        "Retry-After is read as a number of seconds",
        arguments: [
            ("Fri, 31 Dec 1999 23:59:59 GMT", nil), ("0", Duration.zero), ("-1", nil), ("120", .seconds(120)),
        ])
    func retryAfterIsReadInSeconds(text: String, duration: Duration?) {
        #expect(HTTPHead(status: 429, headers: ["retry-after": text]).retryAfter == duration)
        #expect(HTTPHead(status: 429).retryAfter == nil)
    }

    @Test("a stream is not limited by the maximum response size") func nothingIsGathered() async throws {
        let server = try RawHTTPServer { _, _ in .status(200, String(repeating: "x", count: 1 << 20)) }
        let seen = try await stream(request(server.url, maximumResponseBytes: 10))
        #expect(seen.text.utf8.count == 1 << 20)
        #expect(seen.end == .success(.complete))
    }

    @Test("each request has its own maximum response size") func theBoundIsTheRequests() async throws {
        let server = try RawHTTPServer { _, _ in .status(200, "12345") }
        let url = server.url
        let outcomes = try await onThread {
            let client = HTTPClient()
            return [5, 4, 5].map { bound in
                outcome(client, request(url, maximumResponseBytes: bound))
            }
        }
        #expect(outcomes == ["12345", "responseTooLarge", "12345"])
    }

    @Test("a stream that breaks is an error") func aStreamThatIsCutIsAFailure() async throws {
        let whole = try await stream(request(try RawHTTPServer { _, _ in .bytes("\(chunked)5\r\nfirst\r\n") }.url)) {
            $0.text != "first"
        }
        #expect(whole.end == .success(.stopped))
        let server = try RawHTTPServer { _, _ in .bytesAndHangUp("\(chunked)5\r\nfirst\r\n9\r\nhal") }
        let cut = try await stream(request(server.url))
        #expect(cut.text == "firsthal")
        #expect(cut.failure == .connection)
    }

    @Test("a silent stream times out") func aStreamThatFallsSilentEnds() async throws {
        let server = try RawHTTPServer { _, _ in .bytes("\(chunked)5\r\nfirst\r\n") }
        // A machine too slow for the first chunk gets more time.
        for seconds in [1, 10, 100] {
            let seen = try await stream(
                request(server.url, timeoutMilliseconds: nil), silence: .seconds(seconds))
            #expect(seen.failure == .timeout)
            if seen.text == "first" { return }
        }
        Issue.record("the first chunk did not arrive")
    }

    @Test("the head of a stream has its own timeout") func theHeadHasATimeOfItsOwn() async throws {
        var silent = request(try RawHTTPServer { _, _ in .silence }.url, timeoutMilliseconds: nil)
        silent.headTimeoutMilliseconds = 200
        #expect(try await stream(silent).failure == .timeout)
        let server = try RawHTTPServer { _, _ in .bytes("\(chunked)5\r\nfirst\r\n") }
        // A machine too slow for the head gets more time.
        for milliseconds in [500, 5_000, 50_000] {
            var begun = request(server.url, timeoutMilliseconds: 2 * milliseconds)
            begun.headTimeoutMilliseconds = milliseconds
            let start = ContinuousClock.now
            let seen = try await stream(begun)
            #expect(seen.failure == .timeout)
            guard !seen.heads.isEmpty else { continue }
            #expect(ContinuousClock.now - start >= .milliseconds(2 * milliseconds))
            return
        }
        Issue.record("the response head did not arrive")
    }

    @Test("a cancelled stream ends") func aCancelledStreamEnds() async throws {
        let server = try RawHTTPServer { _, _ in .bytes("\(chunked)5\r\nfirst\r\n") }
        let cancellation = HTTPCancellation()
        let hasBegun = Mutex(false)
        async let streaming = stream(request(server.url, timeoutMilliseconds: nil), cancellation: cancellation) {
            seen in
            if !seen.chunks.isEmpty { hasBegun.withLock { $0 = true } }
            return true
        }
        try await eventually("the stream has begun") { hasBegun.withLock { $0 } }
        // Without the cancellation, the stream would not end.
        cancellation.cancel()
        let seen = try await streaming
        #expect(seen.failure == .cancelled)
        #expect(seen.text == "first")
    }

    @Test("a request cancelled before it begins is not sent")
    func whatIsCancelledBeforeItBeginsIsNeverSent() async throws {
        let server = try RawHTTPServer { _, _ in .status(200) }
        let cancellation = HTTPCancellation()
        cancellation.cancel()
        #expect(cancellation.isCancelled)
        #expect(try await stream(request(server.url), cancellation: cancellation).failure == .cancelled)
        #expect(server.requests.isEmpty)
    }

    @Test("a client can be used again after a cancellation") func aClientIsOfUseAfterACancellation() async throws {
        let server = try RawHTTPServer { request, _ in request.target == "/silent" ? .silence : .status(200, "here") }
        let url = server.url
        let cancellation = HTTPCancellation()
        async let outcomes = onThread {
            let client = HTTPClient()
            return [("/silent", cancellation), ("/", nil)].map { path, cancellation in
                outcome(client, request(url + path), cancellation)
            }
        }
        try await eventually("the server has received the request") { !server.requests.isEmpty }
        cancellation.cancel()
        #expect(try await outcomes == ["cancelled", "here"])
    }

    @Test("redirects are followed only if allowed, and never to http")
    func redirectionsAreFollowedWhereTheyAreAllowedAndToHTTPSAlone() async throws {
        let server = try RawHTTPServer { request, _ in
            .status(302, headers: ["Location: http://127.0.0.1/elsewhere"], request.target)
        }
        let kept = try await stream(request(server.url))
        #expect(kept.heads.first?.status == 302)
        let refused = try await stream(request(server.url, maximumRedirects: 5))
        #expect(refused.failure == .redirect)
        #expect(server.requests.count == 2)
    }

    @Test("a redirect to https is followed") func aRedirectionToHTTPSIsFollowed() async throws {
        let certificates = try await TestCertificates()
        let target = try RawHTTPServer { _, _ in .status(200, "here") }
        let secure = try await TLSTerminator(before: target.url, certificates)
        let server = try RawHTTPServer { _, _ in
            .status(302, headers: ["Location: \(secure.url)/"], "not here")
        }
        let url = server.url
        let authority = certificates.path("authority.pem")
        let response = try await onThread {
            let client = HTTPClient(tls: HTTPClient.TLS(authorities: .file(authority)))
            return try client.perform(request(url, maximumResponseBytes: 1 << 20, maximumRedirects: 1))
        }
        #expect(response.status == 200)
        #expect(response.text == "here")
    }
}
