// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Logging
import NIOCore
import NIOPosix
import Retry
import TestSupport
import TransportSecurity

@testable import FlowExport

/// The real agent's side of connections, towards a server of a test.
struct ExporterUnderTest {
    let exporter: FlowExporter

    init(
        to address: SocketAddress?, host: String = "127.0.0.1", node: String = "node-a", isStarted: Bool = true,
        _ configure: (inout FlowExporter.Configuration) -> Void = { _ in }
    ) {
        // Only a hang reaches a deadline that a test does not ask for, and attempts to connect soon follow each other.
        var configuration = FlowExporter.Configuration(
            host: host, port: address?.port ?? 0, connectTimeout: .hours(1), answerTimeout: .hours(1))
        configuration.departureTimeout = .hours(1)
        configuration.backoff = Backoff(initial: .milliseconds(10), maximum: .milliseconds(100))
        configure(&configuration)
        exporter = FlowExporter(
            configuration: configuration,
            hello: Hello(nodeName: node, agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        if isStarted { exporter.start() }
    }

    /// Hands over a batch of one flow.
    func export(_ number: Int = 1) {
        let flow = Flow.test(number)
        exporter.export(FlowAmount(flows: 1, bytes: flow.bytes), of: .scrape) { sequence in
            ExportBatch(
                sequence: sequence, observedAtMilliseconds: 1_000, frame: .batch(sequence, [flow]), flows: 1,
                reportedBytes: flow.bytes)
        }
    }

    /// Waits until so many flows are acknowledged.
    func acknowledged(_ flows: UInt64) async throws {
        try await eventually("\(flows) flows are acknowledged") { exporter.statistics.acknowledgedFlows >= flows }
    }

    /// Waits until an attempt has failed for a reason.
    func failed(_ reason: String) async throws {
        try await eventually("a connection fails: \(reason)") {
            exporter.statistics.connectionFailures[reason, default: 0] > 0
        }
    }

    /// Ends the exporter without waiting for anything.
    func stop() async throws { _ = try await exporter.drain(timeout: .zero) }
}

extension TestCertificates {
    /// The files of a server, which asks for agents' certificates where told to.
    func serverFiles(_ name: String = "server", asksForCertificates: Bool = false) -> TLSFiles {
        TLSFiles(
            certificate: path("\(name).pem"), key: path("\(name).key"),
            authorities: asksForCertificates ? path("authority.pem") : nil)
    }

    /// The files of an agent, with a certificate of its own where one is named.
    func agentFiles(_ name: String? = nil) -> TLSFiles {
        TLSFiles(
            certificate: name.map { path("\($0).pem") }, key: name.map { path("\($0).key") },
            authorities: path("authority.pem"))
    }
}
