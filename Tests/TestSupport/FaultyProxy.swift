// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// A reverse proxy on the loopback interface in front of a real HTTP server, which fails as a test tells it to. Clients
/// can also use it as a forward proxy.
public enum FaultyProxy {
    /// The treatment of a request.
    public enum Fault: Sendable {
        /// Request and response are forwarded.
        case none
        /// The request is forwarded after a delay.
        case delay(Duration)
        /// The response comes back after a delay.
        case delayAnswer(Duration)
        /// The request is not forwarded; the response is this.
        case answer(RawHTTPServer.Answer)
        /// Only the first bytes of the request are forwarded, then both connections are closed.
        case cutRequest(afterBytes: Int)
        /// The request is forwarded; only the first bytes of the response come back, then the connection is closed.
        case cutAnswer(afterBytes: Int)
        /// The request is forwarded; no response ever comes back.
        case swallowAnswer
    }

    /// Starts a proxy that runs until the test process ends. `fault` gets each request and the number of requests
    /// before it.
    public static func start(
        before url: String, _ fault: @escaping @Sendable (RawHTTPServer.Request, _ number: Int) -> Fault
    ) throws -> RawHTTPServer {
        guard let port = URLComponents(string: url)?.port.flatMap({ UInt16(exactly: $0) }) else {
            throw TestEnvironmentError("'\(url)' has no port")
        }
        return try RawHTTPServer { request, number in
            switch fault(request, number) {
            case .none: return .bytesAndHangUp(forward(request, to: port))
            case .delay(let delay):
                Thread.sleep(forTimeInterval: delay / .seconds(1))
                return .bytesAndHangUp(forward(request, to: port))
            case .delayAnswer(let delay):
                let answer = forward(request, to: port)
                Thread.sleep(forTimeInterval: delay / .seconds(1))
                return .bytesAndHangUp(answer)
            case .answer(let answer): return answer
            case .cutRequest(let count):
                _ = forward(request, to: port, firstBytes: count)
                return .hangUp
            case .cutAnswer(let count):
                let answer = forward(request, to: port)
                return .bytesAndHangUp(String(decoding: Array(answer.utf8.prefix(count)), as: UTF8.self))
            case .swallowAnswer:
                _ = forward(request, to: port)
                return .silence
            }
        }
    }

    /// Sends a request over a connection of its own and returns the whole response; an empty text if only the first
    /// bytes of the request are sent.
    private static func forward(_ request: RawHTTPServer.Request, to port: UInt16, firstBytes: Int? = nil) -> String {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(connection) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        let isConnected = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                connect(connection, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard isConnected else { return "" }
        var headers = request.headers
        headers["connection"] = "close"
        // A client that uses this as a forward proxy sends the server's URL as the target.
        let target =
            request.target.hasPrefix("http://")
            ? String(request.target.dropFirst("http://".count).drop { $0 != "/" }) : request.target
        let head =
            "\(request.method) \(target) HTTP/1.1\r\n"
            + headers.map { "\($0.key): \($0.value)\r\n" }.joined() + "\r\n"
        let bytes = Array(head.utf8) + request.body
        var rest = bytes.prefix(firstBytes ?? bytes.count)
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
            }
            guard sent > 0 else { return "" }
            rest = rest.dropFirst(sent)
        }
        guard firstBytes == nil else { return "" }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return String(decoding: answer, as: UTF8.self) }
            answer += buffer.prefix(count)
        }
    }
}
