// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import TestSupport
import TransportSecurity

@testable import FlowExport
@testable import Retry

/// The real agent's exporter, connected to a test's server.
struct ExporterUnderTest {
    let exporter: FlowExporter

    init(
        to address: SocketAddress?, host: String = "127.0.0.1", node: String = "node-a", isStarted: Bool = true,
        _ configure: (inout FlowExporter.Configuration) -> Void = { _ in }
    ) {
        // Only a hang reaches a deadline that the test does not set; attempts to connect follow each other quickly.
        var configuration = FlowExporter.Configuration(
            host: host, port: address?.port ?? 0, connectTimeout: .hours(1), answerTimeout: .hours(1))
        configuration.backoff = Backoff(initial: .milliseconds(10), maximum: .milliseconds(100))
        configuration.departureTimeout = .hours(1)
        configure(&configuration)
        exporter = FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: node, agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        if isStarted { exporter.start() }
    }

    /// Exports a batch of one flow.
    func export(_ number: Int = 1) {
        let flow = Flow.test(number)
        let amount = FlowAmount(flows: 1, bytes: flow.bytes)
        exporter.export(amount, of: .scrape) { sequence in
            ExportBatch(
                sequence: sequence, observedAtMilliseconds: 1_000, frame: .batch(sequence, [flow]), amount: amount)
        }
    }

    /// Waits until at least `flows` flows are acknowledged.
    func acknowledged(_ flows: UInt64) async throws {
        try await eventually("\(flows) flows are acknowledged") {
            exporter.statistics.balance.acknowledged.flows >= flows
        }
    }

    /// Waits until a connection has failed for `reason`.
    func failed(_ reason: String) async throws {
        try await eventually("a connection fails: \(reason)") {
            exporter.statistics.connectionFailures[reason, default: 0] > 0
        }
    }

    /// Stops the exporter without waiting for acknowledgements.
    func stop() async throws { _ = try await exporter.drain(timeout: .zero) }
}

extension TestCertificates {
    /// Returns the files of a server, with the authority of agents' certificates if those are required.
    func serverFiles(_ name: String = "server", asksForCertificates: Bool = false) -> TLSFiles {
        TLSFiles(
            certificate: path("\(name).pem"), key: path("\(name).key"),
            authorities: asksForCertificates ? path("authority.pem") : nil)
    }

    /// Returns the files of an agent, with a certificate if one is named.
    func agentFiles(_ name: String? = nil) -> TLSFiles {
        TLSFiles(
            certificate: name.map { path("\($0).pem") }, key: name.map { path("\($0).key") },
            authorities: path("authority.pem"))
    }
}
