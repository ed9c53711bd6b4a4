// SPDX-License-Identifier: Apache-2.0

package import FlowModel
import FlowWire
import HostAddresses
package import Logging
import ServiceLifecycle
import Synchronization
import Threads

/// Reports the addresses of the agent's host, at once and when they change, from a thread of its own. The agent counts
/// without them too, but servers then know fewer of the node's addresses.
package final class HostAddressService: Service, CustomStringConvertible {
    /// The service's name in the log.
    package let description = "host-addresses"

    /// The minimum time between two readings, in milliseconds: changes in between are read together.
    private static let interval: CInt = 1_000
    /// The time until a failed reading is repeated, in milliseconds.
    private static let retryInterval: CInt = 30_000

    /// Nil if the kernel's notifications of changes are unavailable.
    private let addresses: HostAddresses?
    private let logger: Logger
    private let tell: @Sendable ([IPAddress]) -> Void
    private let hasWarnedOfMany = Atomic(false)

    /// Reads the addresses in the calling thread's network namespace and reports them before it returns.
    package init(logger: Logger, tell: @escaping @Sendable ([IPAddress]) -> Void) {
        self.logger = logger
        self.tell = tell
        do throws(RouteSocketError) {
            addresses = try HostAddresses()
        } catch {
            addresses = nil
            logger.warning(
                "cannot watch the host's addresses: servers use only those of the Node object",
                metadata: ["error": "\(error)"])
        }
        if let addresses { read(addresses) }
    }

    /// Reports the addresses when they change, until the daemon shuts down.
    package func run() async throws {
        guard let addresses else { return try await gracefulShutdown() }
        let thread = OwnedThread(name: "host-addresses")
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await thread.run { self.watch(addresses) }
        } onCancelOrGracefulShutdown: {
            addresses.interrupt()
        }
    }

    /// Reads the addresses at once, since the previous reading may have failed, and after every change, until it is
    /// interrupted.
    private func watch(_ addresses: HostAddresses) {
        repeat {
            while !read(addresses) { guard addresses.pause(milliseconds: Self.retryInterval) else { return } }
            guard addresses.pause(milliseconds: Self.interval) else { return }
        } while addresses.waitForChange()
    }

    /// Reads the addresses and reports them.
    ///
    /// - Returns: False if they could not be read.
    @discardableResult private func read(_ addresses: HostAddresses) -> Bool {
        do throws(RouteSocketError) {
            let reading = try addresses.read(limit: Hello.maximumHostAddresses)
            report(reading)
            tell(reading.addresses)
            return true
        } catch {
            logger.warning("cannot read the host's addresses", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func report(_ reading: HostAddresses.Reading) {
        if reading.malformedMessages > 0 {
            logger.warning(
                "skipped malformed netlink messages about host addresses",
                metadata: ["messages": "\(reading.malformedMessages)"])
        }
        guard reading.omitted > 0, !hasWarnedOfMany.exchange(true, ordering: .relaxed) else { return }
        logger.warning(
            "the host has more addresses than an agent may report; the others are omitted",
            metadata: ["told": "\(reading.addresses.count)", "omitted": "\(reading.omitted)"])
    }
}
