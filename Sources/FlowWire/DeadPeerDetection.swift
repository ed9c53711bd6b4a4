// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Socket options with which either end notices, after half a minute, a peer that is gone without a word (tcp(7); numbers
/// from include/uapi/linux/tcp.h).
public enum DeadPeerDetection {
    /// Options of an agent's socket and their values: they find a peer that is gone while nothing is under way to it.
    ///
    /// TCP_USER_TIMEOUT is not among them. It also counts the time in which a peer merely reads nothing, and a server
    /// that waits for ClickHouse reads nothing; one that is gone is known by its silence.
    public static let agentOptions: [(option: ChannelOptions.Types.SocketOption, value: Int)] = [
        (.init(level: .socket, name: .so_keepalive), 1),
        // TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, TCP_KEEPCNT.
        (.init(level: .tcp, name: .init(rawValue: 4)), 15),
        (.init(level: .tcp, name: .init(rawValue: 5)), 5),
        (.init(level: .tcp, name: .init(rawValue: 6)), 3),
    ]

    /// Options of a server's socket and their values: agents read always.
    public static let serverOptions =
        agentOptions + [
            // TCP_USER_TIMEOUT in milliseconds: how long data that was sent may go unanswered by the peer's TCP.
            (.init(level: .tcp, name: .init(rawValue: 18)), 30_000)
        ]
}
