// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport

/// A client whose test decides which bytes it sends and when it reads.
final class RawConnection {
    private let descriptor: Int32
    /// The text received so far.
    private(set) var text = ""
    private(set) var isClosed = false

    /// Connects to a port of 127.0.0.1.
    ///
    /// - Parameters:
    ///   - port: The port.
    ///   - source: The source address.
    ///   - receiveBuffer: The requested size of the kernel's receive buffer, in bytes; nil for the kernel's default.
    init(_ port: Int, from source: String = "127.0.0.1", receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        let isConnected =
            Self.withAddress(source, 0) { bind(descriptor, $0, $1) } == 0
            && Self.withAddress("127.0.0.1", port) { connect(descriptor, $0, $1) } == 0
        guard isConnected else {
            close(descriptor)
            throw TestEnvironmentError("connect: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    private static func withAddress(
        _ address: String, _ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var socketAddress = sockaddr_in()
        socketAddress.sin_family = sa_family_t(AF_INET)
        socketAddress.sin_port = UInt16(port).bigEndian
        inet_pton(AF_INET, address, &socketAddress.sin_addr)
        return withUnsafePointer(to: &socketAddress) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Sends as much as the kernel takes at once.
    ///
    /// - Returns: The number of bytes sent.
    @discardableResult
    func send(_ text: String) -> Int {
        max(0, Glibc.send(descriptor, text, text.utf8.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL)))
    }

    /// Closes the sending side of the connection.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads what has arrived.
    func read() {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        while !isClosed {
            let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                text += String(decoding: bytes[..<count], as: UTF8.self)
            } else if count < 0 && errno == EAGAIN {
                return
            } else {
                isClosed = true
            }
        }
    }

    /// Reads until the connection is closed.
    func readToEnd() async throws -> String {
        try await eventually("the connection is closed") {
            read()
            return isClosed
        }
        return text
    }

    /// Reads until `count` responses have begun.
    func readAnswers(_ count: Int) async throws -> [Substring] {
        try await eventually("\(count) responses have arrived, not \(text.split(separator: "HTTP/1.1 ").count)") {
            read()
            return text.split(separator: "HTTP/1.1 ").count >= count && (text.hasSuffix("\n") || text.hasSuffix("x"))
        }
        return text.split(separator: "HTTP/1.1 ")
    }
}
