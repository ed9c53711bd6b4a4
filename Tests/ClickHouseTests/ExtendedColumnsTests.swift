// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import Labeling
import TestSupport
import Testing

@testable import ClickHouse

@Suite struct ExtendedColumnsTests {
    private func migrate(_ database: TestDatabase, _ file: String = "002_extended_columns") async throws {
        let statement = try String(contentsOf: Repository.file("deploy/clickhouse/\(file).sql"), encoding: .utf8)
        try await database.query(statement)
    }

    /// Makes a flow that differs from others of the same `original` in the given parts alone.
    private func flow(isOpenedByLocal: Bool, zone: UInt16, of original: LabeledFlow) -> LabeledFlow {
        LabeledFlow(
            transport: .tcp, local: original.local, remote: original.remote, connectionClass: .intraVPC,
            sent: FlowCounters(packets: 1, bytes: 100), received: FlowCounters(packets: 2, bytes: 7),
            isOpenedByLocal: isOpenedByLocal, zone: zone)
    }

    @Test("rows say which end opened the connection, and in which zone it is; rows that differ in one alone stay apart")
    func openerAndZone() async throws {
        let database = try await TestDatabase.make()
        try await migrate(database)
        for _ in 0..<2 { try await migrate(database, "008_opened_and_zone") }
        // In a block of its own each: ClickHouse, and not the server, must keep the rows apart.
        let original = try flow()
        let parts: [(Bool, UInt16)] = [(true, 0), (false, 0), (true, 0xfff0), (true, 0)]
        for (isOpenedByLocal, zone) in parts {
            let flow = flow(isOpenedByLocal: isOpenedByLocal, zone: zone, of: original)
            try await insert([flowBlock([flow])], into: database)
        }
        let flows = parts.map { flow(isOpenedByLocal: $0, zone: $1, of: original) }
        try await insert([flowBlock(flows)], into: database)
        try await database.query("OPTIMIZE TABLE network_flows_0 FINAL")
        let rows = try await database.rows(
            "SELECT opened, conntrackZone, direction, bytes, sourceTranslated FROM network_flows_0 ORDER BY ALL")
        #expect(
            rows == [
                ["local", "0", "out", "400", "false"], ["local", "0", "in", "28", "false"],
                ["local", "65520", "out", "200", "false"], ["local", "65520", "in", "14", "false"],
                ["remote", "0", "out", "200", "false"], ["remote", "0", "in", "14", "false"],
            ])
    }

    @Test("a table without the new columns gets the same bytes whatever their values are")
    func originalBytes() throws {
        let schema = try TableSchema(
            table: "t",
            columnNames: FlowColumn.allCases.map(\.name).filter { name in
                !["opened", "conntrackZone"].contains(name)
            })
        func body(_ flows: [LabeledFlow]) -> [UInt8] {
            var encoder = BlockEncoder()
            return encoder.encoded(flowBlock(flows), for: schema, compression: .none).body.bytes
        }
        let original = try flow()
        let plain = flow(isOpenedByLocal: true, zone: 0, of: original)
        #expect(body([plain, flow(isOpenedByLocal: false, zone: 77, of: original)]) == body([plain, plain]))
    }

    private func flow() throws -> LabeledFlow {
        LabeledFlow(
            transport: .tcp,
            local: LabeledEndpoint(
                labels: kept(EndpointLabels([.pod: "web-1", .workload: "Deployment/web"])),
                address: try #require(IPAddress("fd00:244:1::10")), port: 1),
            remote: LabeledEndpoint(
                labels: kept(EndpointLabels([.pod: "db-0", .workload: "StatefulSet/db"])),
                address: try #require(IPAddress("2001:db8::1")), port: 2),
            service: kept(EndpointLabels([.service: "shop/db"])), connectionClass: .intraVPC, flags: [],
            sent: FlowCounters(packets: 1, bytes: 100), received: FlowCounters())
    }

    @Test("002_extended_columns.sql can be applied twice to a table with rows")
    func theMigrationRunsOverRowsAndAgainWithoutHarm() async throws {
        let database = try await TestDatabase.make()
        try await insert([flowBlock()], into: database)
        try await migrate(database)
        try await migrate(database)
        var block = flowBlock()
        block.append(try flow(), observedAt: lastSecondOfADay)
        try await insert([block], into: database)
        try await database.query("OPTIMIZE TABLE network_flows_0 FINAL")
        let rows = try await database.rows(
            """
            SELECT localPod, localIPv4, localIPv6, remoteIPv6, localWorkload, remoteWorkload, remoteService, sum(bytes)
            FROM network_flows_0 WHERE direction = 'out' GROUP BY ALL ORDER BY ALL
            """)
        // The row inserted before the migration and the equal one inserted after it are merged: both have empty values
        // in the new columns.
        #expect(
            rows == [
                ["a", "10.244.1.10", "::", "::", "", "", "", "200"],
                [
                    "web-1", "0.0.0.0", "fd00:244:1::10", "2001:db8::1", "Deployment/web", "StatefulSet/db", "shop/db",
                    "100",
                ],
            ])
    }

    @Test("rows that differ in a new column only are not merged")
    func rowsThatDifferInANewColumnAloneStayApart() async throws {
        let database = try await TestDatabase.make()
        try await migrate(database)
        var block = flowBlock([])
        for text in ["2001:db8::1", "2001:db8::2", "2001:db8::1"] {
            let original = try flow()
            block.append(
                LabeledFlow(
                    transport: .tcp, local: original.local,
                    remote: LabeledEndpoint(
                        labels: original.remote.labels, address: try #require(IPAddress(text)), port: 2),
                    connectionClass: .intraVPC, sent: FlowCounters(packets: 1, bytes: 100), received: FlowCounters()),
                observedAt: lastSecondOfADay)
        }
        try await insert([block], into: database)
        try await database.query("OPTIMIZE TABLE network_flows_0 FINAL")
        let rows = try await database.rows("SELECT remoteIPv6, bytes FROM network_flows_0 ORDER BY ALL")
        #expect(rows == [["2001:db8::1", "200"], ["2001:db8::2", "100"]])
    }

    @Test("connectionFlags contains only the flags that are set") func flagsAreAMapOfThoseThatAreSet() async throws {
        let database = try await TestDatabase.make()
        var block = FlowBlock(
            environment: "testing", flagNames: ["nat", "load balancer", "never"], dayOf: lastSecondOfADay)
        for (number, flags) in [ConnectionFlags(rawValue: 0b11), [], ConnectionFlags(rawValue: 0b10)].enumerated() {
            let original = labeledFlow(ports: (UInt16(number), 1), received: FlowCounters())
            block.append(
                LabeledFlow(
                    transport: .tcp, local: original.local, remote: original.remote, connectionClass: .intraVPC,
                    flags: flags, sent: original.sent, received: original.received), observedAt: lastSecondOfADay)
        }
        try await insert([block], into: database)
        let rows = try await database.rows(
            "SELECT localPort, arraySort(mapKeys(connectionFlags))[1], length(connectionFlags), connectionFlags['nat'] FROM network_flows_0 ORDER BY localPort"
        )
        #expect(
            rows == [
                ["0", "load balancer", "2", "true"], ["1", "", "0", "false"], ["2", "load balancer", "1", "false"],
            ])
    }
}
