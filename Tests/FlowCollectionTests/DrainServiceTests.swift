// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import FlowExport
import Testing

@Suite struct DrainServiceTests {
    @Test("a cancelled drain logs what is not acknowledged", .timeLimit(.minutes(2)))
    func cancelledDrain() async throws {
        let log = RecordedLog()
        let exporter = TestExporter.make()
        var batcher = FlowBatcher(exporter: exporter, source: .scrape)
        batcher.append(TestFlow.make(1, bytes: 100), observedAtMilliseconds: 1)
        batcher.flush()
        let drain = DrainService(exporter, timeout: .seconds(3600), logger: log.logger)
        let draining = Task { try await drain.run() }
        draining.cancel()
        try await draining.value
        #expect(log.lines.map { $0.prefix(36) } == ["error flows not acknowledged in time"])
    }
}
