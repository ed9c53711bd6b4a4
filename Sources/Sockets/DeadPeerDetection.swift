// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Socket options with which either end detects, after half a minute, a peer that is gone without closing the
/// connection (tcp(7); numbers from include/uapi/linux/tcp.h).
public enum DeadPeerDetection {
    /// A socket option and its value.
    public typealias Option = (option: ChannelOptions.Types.SocketOption, value: Int)

    /// The default silence after which a peer counts as gone, in seconds.
    public static let defaultSeconds = 30

    /// Returns the options of an agent's socket: they detect that the peer is gone while nothing is in flight to it.
    ///
    /// TCP_USER_TIMEOUT is not among them: it also counts time in which a live peer does not read, and a server that
    /// waits for ClickHouse does not read. A server that is gone is detected by its silence.
    ///
    /// - Parameter seconds: The silence after which a peer counts as gone, at least 6.
    public static func agentOptions(seconds: Int = defaultSeconds) -> [Option] {
        [
            (.init(level: .socket, name: .so_keepalive), 1),
            // TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, TCP_KEEPCNT.
            (.init(level: .tcp, name: .init(rawValue: 4)), seconds / 2),
            (.init(level: .tcp, name: .init(rawValue: 5)), seconds / 6),
            (.init(level: .tcp, name: .init(rawValue: 6)), 3),
        ]
    }

    /// Returns the options of a server's socket. They include TCP_USER_TIMEOUT, since agents always read.
    ///
    /// - Parameter seconds: The silence after which a peer counts as gone, at least 6.
    public static func serverOptions(seconds: Int = defaultSeconds) -> [Option] {
        agentOptions(seconds: seconds) + [
            // TCP_USER_TIMEOUT in milliseconds: the time that sent data may stay unacknowledged by the peer's TCP.
            (.init(level: .tcp, name: .init(rawValue: 18)), seconds * 1_000)
        ]
    }
}
