// SPDX-License-Identifier: Apache-2.0

package import FlowExport
import FlowModel
package import Logging
import NIOCore
import ServiceLifecycle

/// Waits at shutdown until everything collected is acknowledged, the timeout has passed, or the task is cancelled.
package struct DrainService: Service, CustomStringConvertible {
    /// The service's name in the log.
    package let description = "export"

    private let exporter: FlowExporter
    private let timeout: Duration
    private let logger: Logger

    /// - Parameters:
    ///   - exporter: The exporter to drain.
    ///   - timeout: The maximum wait.
    ///   - logger: The logger for the result.
    package init(_ exporter: FlowExporter, timeout: Duration, logger: Logger) {
        self.exporter = exporter
        self.timeout = timeout
        self.logger = logger
    }

    /// Waits for the shutdown, then for the acknowledgements.
    package func run() async throws {
        try? await gracefulShutdown()
        let rest = try await drain()
        let isSpooled = try await exporter.closeSpool()
        let collected = exporter.statistics.balance.allCollected.flows
        if rest.flows > 0, isSpooled {
            logger.notice(
                "flows not acknowledged in time; the spool directory keeps them for the next agent",
                metadata: ["flows": "\(rest.flows)", "bytes": "\(rest.bytes)"])
        } else if rest.flows > 0 {
            logger.error(
                "flows not acknowledged in time; they are lost unless a server has already received them",
                metadata: ["flows": "\(rest.flows)", "bytes": "\(rest.bytes)"])
        } else if collected > 0 {
            logger.info("all collected flows are acknowledged", metadata: ["flows": "\(collected)"])
        } else {
            logger.info("no flows were collected")
        }
    }

    /// Waits for the acknowledgements, and returns the flows that were not acknowledged in time.
    private func drain() async throws -> FlowAmount {
        let (rests, drained) = AsyncStream.makeStream(of: FlowAmount.self)
        Task {
            defer { drained.finish() }
            drained.yield(try await exporter.drain(timeout: TimeAmount(timeout)))
        }
        for await rest in rests { return rest }
        // The task is cancelled.
        return try await exporter.drain(timeout: .zero)
    }
}
