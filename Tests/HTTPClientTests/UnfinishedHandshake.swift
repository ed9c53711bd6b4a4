// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport

/// The behaviour of a peer that does not finish its TLS handshake.
enum HandshakeEnd: CaseIterable {
    /// It resets the connection without reading.
    case resetAtOnce
    /// It reads the client's message and resets the connection.
    case resetLater
    /// It reads the client's message and closes the connection.
    case close
    /// It begins its response and closes the connection.
    case closeMidway
    /// It responds without TLS.
    case plainText
}

/// Accepts one connection on the loopback interface and does not finish its handshake.
final class UnfinishedHandshake: Sendable {
    let port: Int
    private let descriptor: Int32

    init(_ end: HandshakeEnd) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        guard result else { throw TestEnvironmentError("listen: \(String(cString: strerror(errno)))") }
        self.descriptor = descriptor
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread {
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else { return }
            var bytes = [UInt8](repeating: 0, count: 16 << 10)
            if end != .resetAtOnce { _ = read(connection, &bytes, bytes.count) }
            if end == .closeMidway { _ = write(connection, [22, 3, 3, 0, 100, 2, 0, 0] as [UInt8], 8) }
            if end == .plainText { _ = write(connection, "HTTP/1.0 400 Bad Request\r\n\r\n", 28) }
            if end == .resetAtOnce || end == .resetLater {
                var lingers = linger(l_onoff: 1, l_linger: 0)
                setsockopt(connection, SOL_SOCKET, SO_LINGER, &lingers, socklen_t(MemoryLayout<linger>.size))
            }
            close(connection)
        }
    }

    deinit { close(descriptor) }
}
