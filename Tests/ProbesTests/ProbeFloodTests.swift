// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Probes

/// Malicious and broken peers of the probe port.
@Suite struct ProbeFloodTests {
    /// Pages whose `/big` has `size` bytes; `made` is called each time it is made.
    private static func pages(size: Int = 0, _ made: @escaping @Sendable () -> Void = {}) -> ProbeServer.Pages {
        let text = String(repeating: "x", count: size)
        return ProbeServer.Pages(
            live: {
                made()
                return []
            }, ready: { [] }, metrics: { MetricsPage() },
            local: [
                "/big": { _ in
                    made()
                    return .text(text)
                }
            ])
    }

    private static let request = "GET /live HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test("of pipelined requests the first is answered, and the connection is closed")
    func pipelining() async throws {
        let (count, made) = counter()
        try await withProbeServer(Self.pages(made)) { port in
            for rest in [Self.request, "GET /li", "no HTTP\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"] {
                let connection = try RawConnection(port)
                connection.send(Self.request + rest)
                let isWhole = rest != "GET /li"
                if !isWhole {
                    _ = try await connection.readAnswers(1)
                    connection.send("ve HTTP/1.1\r\nConnection: close\r\n\r\n")
                }
                let text = try await connection.readToEnd()
                #expect(
                    text.split(separator: "HTTP/1.1 ").map { $0.prefix(3) } == (isWhole ? ["200"] : ["200", "200"]))
                #expect(text.contains("Connection: close\r\n"))
            }
            #expect(count() == 5)
        }
    }

    @Test("two megabytes of pipelined requests get one response")
    func twoMegabytes() async throws {
        let (count, made) = counter()
        try await withProbeServer(Self.pages(size: 400_000, made)) { port in
            let connection = try RawConnection(port, receiveBuffer: 4 << 10)
            let rest = String(repeating: "GET /big HTTP/1.1\r\nHost: a\r\n\r\n", count: 1_000)
            var sent = 0
            while sent < 2_000_000 {
                let bytes = connection.send(rest)
                if bytes == 0 { break }
                sent += bytes
            }
            try await eventually("the first response is rendered") { count() > 0 }
            #expect(try await answer(port, "/nothing").status == 404)
            _ = try await connection.readToEnd()
            #expect(count() == 1)
        }
    }

    @Test("a connection is closed after the maximum number of requests")
    func manyRequests() async throws {
        var limits = ProbeLimits()
        limits.requestsPerConnection = 3
        try await withProbeServer(Self.pages(), limits: limits) { port in
            let connection = try RawConnection(port)
            for number in 1...3 {
                connection.send(Self.request)
                _ = try await connection.readAnswers(number)
            }
            let answers = try await connection.readToEnd().split(separator: "HTTP/1.1 ")
            #expect(answers.map { $0.contains("Connection: close") } == [false, false, true])
        }
    }

    @Test("connections that are silent, slow or do not read are closed at their deadline", arguments: ["", "GET /"])
    func slowPeers(beginning: String) async throws {
        var limits = ProbeLimits()
        limits.requestDeadline = .milliseconds(500)
        limits.answerDeadline = .milliseconds(500)
        try await withProbeServer(Self.pages(size: 4_000_000), limits: limits) { port in
            let slow = try RawConnection(port)
            slow.send(beginning)
            let unread = try RawConnection(port, receiveBuffer: 4 << 10)
            unread.send("GET /big HTTP/1.1\r\n\r\n")
            // Single bytes now and then do not extend the deadline.
            try await eventually("the slow one is closed") {
                if !beginning.isEmpty { slow.send("x") }
                slow.read()
                return slow.isClosed
            }
            #expect(slow.text.isEmpty)
            #expect(try await unread.readToEnd().utf8.count < 4_000_000)
        }
    }

    @Test("a connection is kept open for the next request, and closed on request")
    func keepAlive() async throws {
        try await withProbeServer(Self.pages()) { port in
            let connection = try RawConnection(port)
            for number in 1...3 {
                connection.send(Self.request)
                _ = try await connection.readAnswers(number)
            }
            #expect(!connection.isClosed && !connection.text.contains("close"))
            connection.send("GET /live HTTP/1.1\r\nConnection: close\r\n\r\n")
            #expect(try await connection.readToEnd().contains("Connection: close\r\n"))
            for old in ["GET /live HTTP/1.0\r\n\r\n", "GET /live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
                let connection = try RawConnection(port)
                connection.send(old)
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.0 200 OK\r\n"))
            }
            let half = try RawConnection(port)
            half.send(Self.request)
            half.finishSending()
            #expect(try await half.readToEnd().hasPrefix("HTTP/1.1 200 OK"))
        }
    }

    @Test(
        "an oversized or malformed request is rejected, and its connection is closed",
        arguments: [
            ("GET /live HTTP/1.1\r\nA: \(String(repeating: "x", count: 9_000))\r\n\r\n", "431"),
            ("GET /\(String(repeating: "x", count: 9_000)) HTTP/1.1\r\n\r\n", "431"),
            ("GET /live HTTP/1.1\r\n\(String(repeating: "A: x\r\n", count: 65))\r\n", "431"),
            (
                "GET /live HTTP/1.1\r\n"
                    + String(repeating: "A: \(String(repeating: "x", count: 200))\r\n", count: 42) + "\r\n", "431"
            ),
            ("POST /live HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "413"),
            ("GET /live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "413"),
            (
                "GET /live HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
                "4"
            ),
            ("GET /live HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nGET /", "4"),
            ("GET /live HTTP/1.1\r\nContent-Length: +0\r\n\r\n", "400"),
            ("GET /live HTTP/1.1\r\n A: folded\r\n\r\n", "400"), ("GET /live HTTP/2.0\r\n\r\n", "400"),
            ("no HTTP\r\n\r\n", "400"), ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", "400"),
        ])
    func refusals(bytes: String, status: String) async throws {
        try await withProbeServer(Self.pages()) { port in
            let connection = try RawConnection(port)
            connection.send(bytes)
            let text = try await connection.readToEnd()
            #expect(text.hasPrefix("HTTP/1.1 \(status)") && text.contains("Connection: close\r\n"))
            #expect(text.split(separator: "HTTP/1.1 ").count == 1)
            #expect(try await answer(port, "/live").status == 200)
        }
    }

    @Test("a new connection is answered when all places are taken, and the eviction is counted")
    func eviction() async throws {
        var limits = ProbeLimits()
        limits.connections = 4
        limits.requestDeadline = .hours(1)
        try await withProbeServer(Self.pages(), limits: limits) { port in
            let idle = try (0..<4).map { _ in try RawConnection(port, from: "127.0.0.2") }
            for connection in idle { connection.send("GET") }
            let new = try RawConnection(port)
            new.send(Self.request)
            _ = try await new.readAnswers(1)
            _ = try await idle[0].readToEnd()
            for connection in idle.dropFirst() { connection.read() }
            #expect(idle.dropFirst().allSatisfy { !$0.isClosed })
            new.send("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
            #expect(try await new.readToEnd().contains("\nkubenetmon_probe_evicted_connections_total 1\n"))
        }
    }

    @Test("/live is answered while other addresses open connections without end")
    func flood() async throws {
        var limits = ProbeLimits()
        limits.requestDeadline = .hours(1)
        try await withProbeServer(Self.pages(), limits: limits) { port in
            let isOver = Mutex(false)
            let flooding = Task {
                var connections: [RawConnection] = []
                var opened = 0
                while !isOver.withLock({ $0 }) {
                    for _ in 0..<50 {
                        if let connection = try? RawConnection(port, from: "127.0.0.2") {
                            connections.append(connection)
                            connection.send("GET /metrics HTTP/1.1\r\n")
                            opened += 1
                        }
                    }
                    connections.removeFirst(max(0, connections.count - 200))
                    try await Task.sleep(for: .milliseconds(5))
                }
                return opened
            }
            for _ in 0..<20 {
                let connection = try RawConnection(port)
                connection.send("GET /live HTTP/1.1\r\nConnection: close\r\n\r\n")
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 200 OK"))
            }
            isOver.withLock { $0 = true }
            #expect(try await flooding.value > limits.connections)
        }
    }

    @Test("the oldest connection of the address with the most connections is evicted")
    func table() {
        var table = ProbeConnectionTable<Int, Int>(maximum: 3)
        #expect(table.insert(1, 10, from: "kubelet") == nil)
        #expect(table.insert(2, 20, from: "other") == nil)
        #expect(table.insert(3, 30, from: "other") == nil)
        #expect(table.insert(4, 40, from: "third") == 20)
        table.remove(20)
        table.remove(3)
        #expect(table.insert(5, 50, from: "fourth") == nil)
        #expect(table.insert(6, 60, from: "fifth") == 10)
    }

    /// Returns a counter: a function that reads it and one that increments it.
    private func counter() -> (count: @Sendable () -> Int, add: @Sendable () -> Void) {
        let counter = Counter()
        return ({ counter.number.withLock { $0 } }, { counter.number.withLock { $0 += 1 } })
    }

    private final class Counter: Sendable { let number = Mutex(0) }
}
