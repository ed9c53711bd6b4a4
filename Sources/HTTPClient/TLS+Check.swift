// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import Threads

extension HTTPClient.TLS {
    /// Loads certificates and keys as a connection does, and throws an error if no connection could be made with them.
    ///
    /// libcurl loads them only once a connection is open. The check connects to a listener on the loopback interface
    /// that sends nothing, so that the handshake ends right after the loading.
    public func check() throws(HTTPError) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        guard let port = Self.listen(listener) else {
            throw HTTPError(
                kind: .connection, message: "cannot listen on 127.0.0.1: \(String(cString: strerror(errno)))")
        }
        let isOver = DispatchSemaphore(value: 0)
        defer {
            // The shutdown ends a pending `accept`. The descriptor is closed only after the `accept` has ended, so that
            // its number is not reused for another file meanwhile.
            shutdown(listener, Int32(SHUT_RDWR))
            isOver.wait()
        }
        OwnedThread.start(name: "tls-check") {
            defer { isOver.signal() }
            let peer = accept(listener, nil, nil)
            guard peer >= 0 else { return }
            // Closing with unread bytes would reset the connection, possibly before libcurl has loaded the
            // certificates.
            shutdown(peer, Int32(SHUT_WR))
            var byte: UInt8 = 0
            while read(peer, &byte, 1) > 0 {}
            close(peer)
        }
        let request = HTTPRequest(
            .get, url: "https://127.0.0.1:\(port)/", timeoutMilliseconds: 10_000, connectTimeoutMilliseconds: 10_000)
        do throws(HTTPError) {
            _ = try HTTPClient(tls: self).perform(request)
        } catch  where error.kind == .badRequest {
            throw error
        } catch {
            // Any other error is the expected end of the handshake.
        }
    }

    /// Listens on a port of the loopback interface; nil if that fails.
    private static func listen(_ listener: Int32) -> UInt16? {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) == 0 && Glibc.listen(listener, 1) == 0
                    && getsockname(listener, pointer, &length) == 0
            }
        }
        return isListening ? UInt16(bigEndian: address.sin_port) : nil
    }
}
