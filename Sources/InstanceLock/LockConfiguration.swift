// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The settings that the agents of a network namespace share, and the proof that they show one another.
public struct LockConfiguration: Sendable {
    /// The maximum size of a workload's name in bytes.
    public static let maximumWorkloadBytes = LockMessage.maximumWorkloadBytes

    /// The lock's name among the abstract Unix sockets of the network namespace.
    public var name: String
    /// The workload that this agent belongs to. A running agent gives way to a starting agent of the same workload;
    /// with an empty name it gives way to none. At most ``maximumWorkloadBytes`` of printable ASCII without blanks.
    public var workload: String
    /// The user ID that agents run with.
    var user: UInt32
    /// The times to wait for others.
    var times = LockTimes()
    /// Opens a socket that receives the kernel's events, which proves to a holder that this process is permitted to.
    let makeProof: @Sendable () throws -> Descriptor
    /// Returns whether a descriptor is a socket of this network namespace that receives the kernel's events.
    let isEventSocket: @Sendable (CInt) -> Bool

    /// Creates a configuration from its parts.
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

    /// Returns whether a text is a valid workload name.
    public static func isWorkload(_ text: String) -> Bool {
        text.utf8.count <= maximumWorkloadBytes && text.utf8.allSatisfy(LockMessage.isPrintable)
    }
}

/// How long an agent that wants the lock waits for others.
struct LockTimes: Sendable {
    /// How long to wait for something that is not an agent to free the name.
    var squatter: Duration = .seconds(10)
    /// How long to wait for a running agent that has not announced to leave: it may be about to stop.
    var otherAgent: Duration = .seconds(10)
    /// How long to wait for a holder that has announced to leave: two collections of a very large table.
    var leaving: Duration = .seconds(60)
    /// The time for a holder to respond.
    var answer: Duration = .seconds(2)
    /// The pause between two attempts to get a name that something else holds.
    var retry: Duration = .seconds(10)
}
