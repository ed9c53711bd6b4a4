// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Synchronization

/// A proxy that tunnels its clients to the servers that they name by CONNECT (RFC 9110, section 9.3.6). The proxy and
/// all servers are on the loopback interface.
public final class ConnectProxy: Sendable {
    /// The URL at which it listens.
    public let url: String
    private let names = Mutex<[String]>([])

    /// The `host:port` of every CONNECT so far.
    public var targets: [String] { names.withLock { $0 } }

    /// Starts a proxy that runs until the test process ends.
    public init() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard let port = Self.onLoopback(listener, port: 0, bind), listen(listener, 64) == 0 else {
            throw TestEnvironmentError("bind: \(String(cString: strerror(errno)))")
        }
        url = "http://127.0.0.1:\(port)"
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { continue }
                Thread.detachNewThread { self.serve(client) }
            }
        }
    }

    private func serve(_ client: Int32) {
        defer { close(client) }
        var head = ""
        var byte: UInt8 = 0
        while !head.hasSuffix("\r\n\r\n") {
            guard recv(client, &byte, 1, 0) == 1 else { return }
            head.unicodeScalars.append(Unicode.Scalar(byte))
        }
        let words = head.split(separator: " ")
        guard words.count > 1, words[0] == "CONNECT",
            let port = words[1].split(separator: ":").last.flatMap({ UInt16($0) })
        else { return }
        names.withLock { $0.append(String(words[1])) }
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(server) }
        guard Self.onLoopback(server, port: port, connect) != nil else { return }
        let answer = "HTTP/1.1 200 Connected\r\n\r\n"
        guard send(client, answer, answer.utf8.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL)) > 0 else { return }
        let isDone = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            Self.pump(server, client)
            isDone.signal()
        }
        Self.pump(client, server)
        isDone.wait()
    }

    /// Forwards data from one socket to another until the first has no more.
    private static func pump(_ from: Int32, _ to: Int32) {
        defer { shutdown(to, Int32(SHUT_WR)) }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            var rest = buffer.prefix(max(0, count))
            guard !rest.isEmpty else { return }
            while !rest.isEmpty {
                let sent = rest.withUnsafeBytes {
                    send(to, $0.baseAddress, $0.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL))
                }
                guard sent > 0 else { return }
                rest = rest.dropFirst(sent)
            }
        }
    }

    /// Binds or connects a socket; returns its own port, nil if that fails.
    private static func onLoopback(
        _ descriptor: Int32, port: UInt16, _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> UInt16? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard body(descriptor, address, length) == 0 else { return Int32(-1) }
                return getsockname(descriptor, address, &length)
            }
        }
        return result == 0 ? UInt16(bigEndian: address.sin_port) : nil
    }
}
