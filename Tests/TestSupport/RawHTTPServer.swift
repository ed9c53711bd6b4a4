// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// A server on the loopback interface whose responses a test defines byte for byte, and which records the requests.
public final class RawHTTPServer: Sendable {
    /// A request as it was received.
    public struct Request: Equatable, Sendable {
        /// The path with its query, as the request line has it.
        public var target = ""
        /// `GET`, `POST` and so on.
        public var method = ""
        /// Header fields by their names in lower case.
        public var headers: [String: String] = [:]
        /// The body.
        public var body: [UInt8] = []

        /// Returns a parameter of the query, percent-decoded.
        public func parameter(_ name: String) -> String? {
            URLComponents(string: target)?.queryItems?.first { $0.name == name }?.value
        }
    }

    /// The response to a request.
    public enum Answer: Sendable {
        /// This text; the connection stays open.
        case bytes(String)
        /// These bytes, which need not be text; the connection stays open.
        case raw([UInt8])
        /// This text, then the connection is closed.
        case bytesAndHangUp(String)
        /// No response, for as long as the client waits.
        case silence
        /// No response; the connection is closed.
        case hangUp

        /// Returns a whole response with a body.
        public static func status(_ status: Int, headers: [String] = [], _ body: String = "") -> Answer {
            let fields = (["Content-Length: \(body.utf8.count)"] + headers).joined(separator: "\r\n")
            return .bytes("HTTP/1.1 \(status) Because\r\n\(fields)\r\n\r\n\(body)")
        }

        /// Returns a whole response with a body and with a header field that ClickHouse always sends.
        public static func clickHouse(_ status: Int, headers: [String] = [], _ body: String = "") -> Answer {
            .status(status, headers: ["X-ClickHouse-Query-Id: test"] + headers, body)
        }
    }

    /// The URL at which it listens.
    public let url: String
    private let answer: @Sendable (Request, _ number: Int) -> Answer
    private let maximumBodyBytes: Int
    private let log = Mutex<[Request]>([])
    private let accepted = Mutex(0)

    /// Starts a server that runs until the test process ends. `answer` gets each request and the number of requests
    /// before it. A request with a body larger than `maximumBodyBytes` has its connection closed before the body is
    /// read.
    public init(maximumBodyBytes: Int = .max, _ answer: @escaping @Sendable (Request, _ number: Int) -> Answer) throws {
        self.answer = answer
        self.maximumBodyBytes = maximumBodyBytes
        let (listener, url) = try Self.bound()
        self.url = url
        guard listen(listener, 64) == 0 else {
            throw TestEnvironmentError("listen: \(String(cString: strerror(errno)))")
        }
        Thread.detachNewThread {
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { continue }
                self.accepted.withLock { $0 += 1 }
                Thread.detachNewThread { self.serve(connection) }
            }
        }
    }

    /// Returns the URL of a loopback port that refuses connections until the test process ends.
    public static func closedURL() throws -> String { try bound().url }

    /// Binds a socket to a free loopback port.
    private static func bound() throws -> (socket: Int32, url: String) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 ? getsockname(descriptor, address, &length) : -1
            }
        }
        guard result == 0 else { throw TestEnvironmentError("bind: \(String(cString: strerror(errno)))") }
        return (descriptor, "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
    }

    /// The requests so far.
    public var requests: [Request] { log.withLock { $0 } }

    /// The number of connections so far.
    public var connections: Int { accepted.withLock { $0 } }

    private func serve(_ connection: Int32) {
        defer { close(connection) }
        var received: [UInt8] = []
        while let request = read(connection, &received) {
            let number = log.withLock {
                $0.append(request)
                return $0.count - 1
            }
            switch answer(request, number) {
            case .bytes(let text): guard Self.send(Array(text.utf8), to: connection) else { return }
            case .raw(let bytes): guard Self.send(bytes, to: connection) else { return }
            case .bytesAndHangUp(let text):
                _ = Self.send(Array(text.utf8), to: connection)
                return
            case .silence: _ = Self.receive(connection, &received)
            case .hangUp: return
            }
        }
    }

    /// Sends all bytes; false if the client is gone.
    private static func send(_ bytes: [UInt8], to connection: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let length = bytes[sent...].withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
            }
            guard length > 0 else { return false }
            sent += length
        }
        return true
    }

    /// Reads one request; nil if the client is gone or the request cannot be read.
    private func read(_ connection: Int32, _ received: inout [UInt8]) -> Request? {
        let blank = Array("\r\n\r\n".utf8)
        var end: Range<Int>?
        while end == nil {
            end = received.firstRange(of: blank)
            guard end != nil || Self.receive(connection, &received) else { return nil }
            // The first byte of a TLS handshake.
            guard received.first != 0x16 else { return nil }
        }
        guard let end else { return nil }
        var request = Request()
        let lines = String(decoding: received[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3 else { return nil }
        (request.method, request.target) = (String(words[0]), String(words[1]))
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            request.headers[parts[0].lowercased()] =
                parts.count < 2 ? "" : parts[1].trimmingCharacters(in: .whitespaces)
        }
        let count = request.headers["content-length"].flatMap { Int($0) } ?? 0
        guard count <= maximumBodyBytes else { return nil }
        while received.count < end.upperBound + count {
            guard Self.receive(connection, &received) else { return nil }
        }
        request.body = Array(received[end.upperBound..<end.upperBound + count])
        received.removeFirst(end.upperBound + count)
        return request
    }

    private static func receive(_ connection: Int32, _ received: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let length = recv(connection, &buffer, buffer.count, 0)
        guard length > 0 else { return false }
        received += buffer.prefix(length)
        return true
    }
}

/// Runs blocking code on a thread of its own, not on one of the pool that other tests wait for.
public func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
    }
}
