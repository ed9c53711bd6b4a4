// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Ends a thread's waits in poll(2) from another thread.
public final class PollInterruption: Sendable {
    /// A pair of sockets; the reader is readable once ``interrupt()`` was called.
    private let (reader, writer): (CInt, CInt)

    /// Makes an interruption; returns nil, with the reason in `errno`, if that takes more descriptors than the process
    /// may open.
    public init?() {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            return nil
        }
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// Ends all current and future waits. Callable from any thread.
    public func interrupt() {
        // If the buffer is full, the send fails, but the reader is readable already.
        send(writer, [1], 1, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
    }

    /// Waits until one of the descriptors can be read, at most this many milliseconds, or without limit if negative.
    ///
    /// - Returns: Whether ``interrupt()`` was called.
    public func wait(for descriptors: [CInt], milliseconds: CInt) -> Bool {
        var polled = ([reader] + descriptors).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var result: CInt
        repeat { result = poll(&polled, nfds_t(polled.count), milliseconds) } while result < 0 && errno == EINTR
        return polled[0].revents != 0
    }
}
