// SPDX-License-Identifier: Apache-2.0

public import NIOCore

/// Socket options with which both ends notice, after half a minute, a peer that is gone without a word (tcp(7); numbers
/// from include/uapi/linux/tcp.h).
public enum DeadPeerDetection {
    /// Options and their values.
    public static let socketOptions: [(option: ChannelOptions.Types.SocketOption, value: Int)] = [
        (.init(level: .socket, name: .so_keepalive), 1),
        // TCP_KEEPIDLE and TCP_KEEPINTVL in seconds, TCP_KEEPCNT.
        (.init(level: .tcp, name: .init(rawValue: 4)), 15),
        (.init(level: .tcp, name: .init(rawValue: 5)), 5),
        (.init(level: .tcp, name: .init(rawValue: 6)), 3),
        // TCP_USER_TIMEOUT in milliseconds: how long data that was sent may go unanswered by the peer's TCP.
        (.init(level: .tcp, name: .init(rawValue: 18)), 30_000),
    ]
}
