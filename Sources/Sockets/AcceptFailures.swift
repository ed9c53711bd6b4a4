// SPDX-License-Identifier: Apache-2.0

public import Logging
import NIOCore
import Synchronization

/// Counts and logs connections to one port that could not be accepted, because the process, the host or the kernel has run
/// out of file descriptors or memory (accept(2)).
public final class AcceptFailures: Sendable {
    /// The time without accepting after a failure. The connection stays in the backlog, so an immediate retry would
    /// fail at once, for as long as no descriptor is closed.
    static let pause = TimeAmount.milliseconds(250)

    private let purpose: String
    private let logger: Logger
    private let failures = Atomic<UInt64>(0)

    /// Makes a counter at zero.
    ///
    /// - Parameters:
    ///   - purpose: What the port is for, such as "agents".
    ///   - logger: Where failures are logged; it is expected to drop repetitions.
    public init(purpose: String, logger: Logger) {
        self.purpose = purpose
        self.logger = logger
    }

    /// The number of failed attempts to accept a connection.
    public var count: UInt64 { failures.load(ordering: .relaxed) }

    func note(_ error: IOError) {
        failures.add(1, ordering: .relaxed)
        logger.error(
            "cannot accept a connection; retrying: raise the limit on open files, or find out what holds them open",
            metadata: ["port": "\(purpose)", "error": "\(error)"])
    }
}
