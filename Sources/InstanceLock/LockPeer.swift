// SPDX-License-Identifier: Apache-2.0

import CDescriptorPassing

/// The process at the other end of the lock's socket (`SO_PEERCRED`, unix(7)): of a holder, the one that listens.
public struct LockPeer: Equatable, Sendable {
    /// The process number; 0 where this process's PID namespace does not show it, as with a container of another pod.
    public let process: Int32
    /// The user, as this process's user namespace numbers it.
    public let user: UInt32

    /// Makes a peer of its parts.
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
    /// The process for a log line.
    public var description: String {
        process > 0 ? "process \(process) of user \(user)" : "a process of user \(user) in another PID namespace"
    }
}
