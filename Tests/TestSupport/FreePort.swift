// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// The last port that was handed out.
private let lastPort = Mutex(Int.random(in: 20_000..<25_000))

/// Returns an unused port below the kernel's range for outgoing connections, a different one every time.
///
/// For a program that must be told its port; whatever can listen on port 0 and tell its own does so.
public func freePort() throws -> Int {
    for _ in 0..<1_000 {
        let port = lastPort.withLock {
            $0 += 1
            return $0
        }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        let result = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0 { return port }
    }
    throw TestEnvironmentError("no port is free")
}
