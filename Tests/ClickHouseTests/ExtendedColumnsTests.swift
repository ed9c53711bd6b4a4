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
    private func migrate(_ database: TestDatabase) async throws {
        let statement = try String(
            contentsOf: Repository.file("deploy/clickhouse/002_extended_columns.sql"), encoding: .utf8)
        try await database.query(statement)
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
