// SPDX-License-Identifier: Apache-2.0

import FlowExport
import Logging
import NIOCore
import ServiceLifecycle

/// When the daemon shuts down, waits until everything collected is acknowledged.
struct DrainService: Service, CustomStringConvertible {
    let description = "export"

    private let exporter: FlowExporter
    private let timeout: Duration
    private let logger: Logger

    init(_ exporter: FlowExporter, timeout: Duration, logger: Logger) {
        self.exporter = exporter
        self.timeout = timeout
        self.logger = logger
    }

    func run() async throws {
        try? await gracefulShutdown()
        let rest = try await exporter.drain(timeout: TimeAmount(timeout))
        let isSpooled = try await exporter.closeSpool()
        if rest.flows > 0, isSpooled {
            logger.notice(
                "not acknowledged in time: these flows are kept in the spool directory for the next agent",
                metadata: ["flows": "\(rest.flows)", "bytes": "\(rest.reportedBytes)"])
        } else if rest.flows > 0 {
            logger.error(
                "not acknowledged in time: these flows are lost unless a server has them already",
                metadata: ["flows": "\(rest.flows)", "bytes": "\(rest.reportedBytes)"])
        } else {
            logger.info("everything collected is acknowledged")
        }
    }
}
