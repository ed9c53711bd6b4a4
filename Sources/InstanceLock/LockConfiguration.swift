// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the agents of a network namespace agree on, and what they prove to one another.
public struct LockConfiguration: Sendable {
    /// The most bytes of a workload's name.
    public static let maximumWorkloadBytes = LockMessage.maximumWorkloadBytes

    /// The lock's name among the abstract Unix sockets of the network namespace.
    public var name: String
    /// The workload that this agent belongs to. A running agent gives way to one that starts in its own workload; empty
    /// gives way to none. At most ``maximumWorkloadBytes`` of printable ASCII without blanks.
    public var workload: String
    /// The user that agents run as.
    var user: UInt32
    /// Opens a socket that hears the kernel's events, which proves to a holder that this process may.
    let makeProof: @Sendable () throws -> Descriptor
    /// Tells whether a descriptor is a socket of this network namespace that hears the kernel's events.
    let isEventSocket: @Sendable (CInt) -> Bool

    /// Makes a configuration of its parts.
    public init(
        name: String = "kubenetmon-agent", workload: String,
        makeProof: @escaping @Sendable () throws -> Descriptor,
        isEventSocket: @escaping @Sendable (CInt) -> Bool
    ) {
        self.name = name
        self.workload = workload
        user = geteuid()
        self.makeProof = makeProof
        self.isEventSocket = isEventSocket
    }

    /// Whether a text can be a workload's name.
    public static func isWorkload(_ text: String) -> Bool {
        text.utf8.count <= maximumWorkloadBytes && text.utf8.allSatisfy(LockMessage.isPrintable)
    }
}
