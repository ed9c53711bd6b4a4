// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// An HTTP proxy on the loopback in front of a real server, which fails as a test tells it to. Clients may also be told to use
/// it as their proxy.
public enum FaultyProxy {
    /// What happens to a request.
    public enum Fault: Sendable {
        /// It is handed on, and so is the answer.
        case none
        /// It is handed on after a while.
        case delay(Duration)
        /// It is not handed on; this is the answer.
        case answer(RawHTTPServer.Answer)
        /// So many bytes of it are handed on, then both connections end.
        case cutRequest(afterBytes: Int)
        /// It is handed on; of the answer, so many bytes come back, then the connection ends.
        case cutAnswer(afterBytes: Int)
        /// It is handed on; no answer ever comes back.
        case swallowAnswer
    }

    /// Starts a proxy that lives as long as the test's process. `fault` gets each request and how many came before it.
    public static func start(
        before url: String, _ fault: @escaping @Sendable (RawHTTPServer.Request, _ number: Int) -> Fault
    ) throws -> RawHTTPServer {
        guard let port = URLComponents(string: url)?.port.flatMap({ UInt16(exactly: $0) }) else {
            throw TestEnvironmentError("no port in '\(url)'")
        }
        return try RawHTTPServer { request, number in
            switch fault(request, number) {
            case .none: return .bytesAndHangUp(forward(request, to: port))
            case .delay(let delay):
                Thread.sleep(forTimeInterval: delay / .seconds(1))
                return .bytesAndHangUp(forward(request, to: port))
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

    /// Sends a request over a connection of its own and returns the whole answer. A request of which only the first bytes
    /// are sent gets none.
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
        // A client that takes this for its proxy names the server, too.
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
