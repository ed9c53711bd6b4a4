// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowModel
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@Suite struct HostAddressServiceTests {
    /// The reported addresses and the logged warnings.
    private final class Record: Sendable {
        let told = Mutex<[[IPAddress]]>([])
        let warnings = Mutex<[String]>([])

        var last: [IPAddress] { told.withLock { $0.last ?? [] } }

        var logger: Logger { Logger(label: "test") { _ in Handler(record: self) } }

        func service() -> HostAddressService {
            HostAddressService(logger: logger) { addresses in self.told.withLock { $0.append(addresses) } }
        }
    }

    private struct Handler: LogHandler {
        let record: Record
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            record.warnings.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") }
        }
    }

    @Test("the host's addresses are reported at start and when one is added, and the service ends at once")
    func changes() async throws {
        try NetworkNamespace.requireSandbox()
        // The addresses are added in the namespace that all tests share, because the service's thread runs there.
        let (steady, late) = (IPAddress(v4: 0xc633_64f0), IPAddress(v4: 0xc633_64f1))
        try NetworkNamespace.shell("ip address add 198.51.100.240/32 dev lo")
        let record = Record()
        let service = record.service()
        #expect(record.last.contains(steady) && !record.last.contains(late))
        try await confirmation { ended in
            let group = ServiceGroup(services: [service], logger: record.logger)
            async let running: Void = group.run()
            try NetworkNamespace.shell("ip address add 198.51.100.241/32 dev lo")
            try await eventually("the new address is reported") { record.last.contains(late) }
            try NetworkNamespace.shell("ip address delete 198.51.100.241/32 dev lo")
            try await eventually("the removal of the address is reported") {
                !record.last.contains(late) && record.last.contains(steady)
            }
            await group.triggerGracefulShutdown()
            try await running
            ended()
        }
        try NetworkNamespace.shell("ip address delete 198.51.100.240/32 dev lo")
    }

    @Test("of 300 addresses the first 256 are reported, and a warning names the number of the others")
    func many() async throws {
        let record = Record()
        try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add many type bridge
                seq 300 | awk '{print "address add 10.0." int($1 / 256) "." $1 % 256 "/32 dev many"}' | ip -batch -
                """)
            _ = record.service()
        }
        #expect(record.last == (1...256).map { IPAddress(v4: 0x0a00_0000 + UInt32($0)) })
        let warnings = record.warnings.withLock { $0 }
        #expect(warnings.count == 1 && warnings.allSatisfy { $0.contains("44") && $0.contains("256") })
    }
}
