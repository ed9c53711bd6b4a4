// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import Labeling
import TestSupport
import Testing

@testable import ClickHouse

private func allColumns() throws -> TableSchema {
    try TableSchema(table: "t", columnNames: FlowColumn.allCases.map(\.name))
}

/// Makes a block of flows that differ in every field; with `hasIPv6`, of both address families.
private func variousBlock(_ generator: inout SeededGenerator, flows: Int, hasIPv6: Bool) -> FlowBlock {
    let labels = (0..<max(1, flows / 20)).map { kept(podLabels("\(generator.next() % 1_000)-\($0)")) }
    var block = FlowBlock(environment: "testing", flagNames: ["a", "b"], dayOf: lastSecondOfADay)
    for _ in 0..<flows {
        func endpoint() -> LabeledEndpoint {
            let bits = generator.next()
            return LabeledEndpoint(
                labels: labels[Int(bits % UInt64(labels.count))],
                address: hasIPv6 && bits & 1 == 0
                    ? IPAddress(bits: UInt128(bits) << 64 | 1) : IPAddress(v4: UInt32(truncatingIfNeeded: bits)),
                port: UInt16(truncatingIfNeeded: bits >> 20))
        }
        func counters() -> FlowCounters {
            let bits = generator.next()
            return bits & 3 == 0 ? FlowCounters() : FlowCounters(packets: bits % 100 + 1, bytes: bits % 10_000)
        }
        block.append(
            LabeledFlow(
                transport: .tcp, local: endpoint(), remote: endpoint(), connectionClass: .intraVPC,
                flags: ConnectionFlags(rawValue: generator.next() & 3), sent: counters(), received: counters(),
                isOpenedByLocal: generator.next() & 1 == 0, zone: UInt16(generator.next() % 3) * 0x1001),
            observedAt: lastSecondOfADay - UInt32(generator.next() % 86_000))
    }
    return block
}

@Suite struct BlockEncoderTests {
    @Test("an encoder that is used again encodes the same bytes as a new one")
    func whatWasEncodedBeforeLeavesNoTrace() throws {
        var generator = SeededGenerator(seed: 3)
        var used = BlockEncoder()
        let schema = try allColumns()
        for (flows, hasIPv6) in [(1_500, true), (3, false), (700, false), (1, true), (2_000, false), (40, true)] {
            let block = variousBlock(&generator, flows: flows, hasIPv6: hasIPv6)
            guard block.rows > 0 else { continue }
            var fresh = BlockEncoder()
            for compression in InsertCompression.allCases {
                #expect(
                    used.encoded(block, for: schema, compression: compression).body.bytes
                        == fresh.encoded(block, for: schema, compression: compression).body.bytes)
            }
        }
    }

    @Test("encoding a block without rows is a programming error") func aBlockWithoutRowsIsAMistake() async {
        await #expect(processExitsWith: .failure) {
            var encoder = BlockEncoder()
            let schema = try TableSchema(table: "t", columnNames: FlowColumn.allCases.map(\.name))
            _ = encoder.encoded(FlowBlock(environment: "", dayOf: 0), for: schema, compression: .none)
        }
    }

    /// The engine reads all three compressions alike, IPv6 and flags included, for as many rows as fit the blocks of
    /// one frame and for more.
    @Test("ClickHouse stores the same rows from every compression")
    func everyCompressionIsReadByTheEngine() async throws {
        var generator = SeededGenerator(seed: 4)
        let block = variousBlock(&generator, flows: 8_000, hasIPv6: true)
        var results: [[[String]]] = []
        for compression in InsertCompression.allCases {
            let database = try await TestDatabase.make()
            try await database.query(
                String(contentsOf: Repository.file("deploy/clickhouse/002_extended_columns.sql"), encoding: .utf8))
            try await insert([block], into: database, compression: compression)
            results.append(
                try await database.rows(
                    """
                    SELECT count(), sum(bytes), sum(packets), countIf(localIPv6 != '::'), sum(length(connectionFlags)),
                        sum(cityHash64(* EXCEPT connectionFlags)) FROM network_flows_0
                    """))
        }
        #expect(results[0][0][0] == "\(block.rows)" && results[0][0][1] == "\(block.reportedBytes)")
        #expect(results[1] == results[0] && results[2] == results[0])
    }

    @Test("a block holds IPv4 and IPv6 addresses") func bothFamiliesOfAddressesStandInOneBlock() async throws {
        let database = try await TestDatabase.make()
        try await database.query(
            String(contentsOf: Repository.file("deploy/clickhouse/002_extended_columns.sql"), encoding: .utf8))
        var block = FlowBlock(environment: "", dayOf: lastSecondOfADay)
        let labels = kept(EndpointLabels([.cluster: ""]))
        for (number, text) in ["10.0.0.1", "2001:db8::1", "255.255.255.255", "::1", "0.0.0.0"].enumerated() {
            block.append(
                LabeledFlow(
                    transport: .tcp,
                    local: LabeledEndpoint(
                        labels: labels, address: try #require(IPAddress(text)), port: UInt16(number)),
                    remote: LabeledEndpoint(labels: labels, address: IPAddress(v4: 1), port: 1),
                    connectionClass: .unknown, sent: FlowCounters(packets: 1, bytes: 1), received: FlowCounters()),
                observedAt: lastSecondOfADay)
        }
        try await insert([block], into: database)
        #expect(
            try await database.rows(
                "SELECT localIPv4, localIPv6, remoteIPv4, remoteIPv6 FROM network_flows_0 ORDER BY localPort")
                == [
                    ["10.0.0.1", "::", "0.0.0.1", "::"], ["0.0.0.0", "2001:db8::1", "0.0.0.1", "::"],
                    ["255.255.255.255", "::", "0.0.0.1", "::"], ["0.0.0.0", "::1", "0.0.0.1", "::"],
                    ["0.0.0.0", "::", "0.0.0.1", "::"],
                ])
    }
}
