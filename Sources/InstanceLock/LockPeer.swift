// SPDX-License-Identifier: Apache-2.0

import CDescriptorPassing

/// The process at the other end of a connection to the lock's socket (`SO_PEERCRED`, unix(7)). A connected agent sees
/// the process that listens.
public struct LockPeer: Equatable, Sendable {
    /// The process ID; 0 if this process's PID namespace does not show the process, as with a container of another pod.
    public let process: Int32
    /// The user ID in this process's user namespace.
    public let user: UInt32

    /// Creates a peer from its parts.
    public init(process: Int32, user: UInt32) {
        self.process = process
        self.user = user
    }

    init?(of socket: CInt) {
        var (process, user) = (Int32(0), UInt32(0))
        guard kubenetmon_peer_credentials(socket, &process, &user) == 0 else { return nil }
        self.init(process: process, user: user)
    }
}

extension LockPeer: CustomStringConvertible {
    /// The process as text for a log line.
    public var description: String {
        process > 0 ? "process \(process) of user \(user)" : "a process of user \(user) in another PID namespace"
    }
}
