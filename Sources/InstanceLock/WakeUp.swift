// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Wakes a thread that waits in poll(2).
struct WakeUp: Sendable {
    private let (sender, receiver): (Descriptor, Descriptor)

    init() throws(LockSocketError) {
        var ends: [CInt] = [-1, -1]
        let type = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        guard socketpair(AF_UNIX, CInt(type), 0, &ends) == 0 else {
            throw LockSocketError(operation: "creating a socket pair for", name: "", errno: errno)
        }
        (sender, receiver) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    /// Wakes the thread, now or at its next wait.
    func wake() {
        // If the buffer is full, the send fails, but the receiver is readable and the thread wakes.
        send(sender.number, [1], 1, CInt(MSG_NOSIGNAL))
    }

    /// Waits until one of the sockets can be read, the deadline has passed, or ``wake()`` is called.
    ///
    /// - Returns: For each socket, whether it has something to receive or its other end is closed.
    func wait(for sockets: [LockSocket], until deadline: ContinuousClock.Instant?) -> [Bool] {
        var polled = ([receiver] + sockets.map(\.descriptor)).map {
            pollfd(fd: $0.number, events: Int16(POLLIN), revents: 0)
        }
        let timeout = deadline.map { deadline in
            let left = max(.zero, deadline - .now)
            return CInt(
                clamping: left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1)
        }
        guard poll(&polled, nfds_t(polled.count), timeout ?? -1) > 0 else { return sockets.map { _ in false } }
        if polled[0].revents != 0 {
            var bytes = [UInt8](repeating: 0, count: 64)
            while recv(receiver.number, &bytes, bytes.count, 0) > 0 {}
        }
        return withExtendedLifetime(sockets) { polled.dropFirst().map { $0.revents != 0 } }
    }
}
