// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import FlowBlocksTestKit
import FlowModel
import Foundation
import Labeling
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

/// A logger without output.
let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Sends blocks to a database's table, through a real inserter.
func insert(
    _ blocks: [FlowBlock], into database: TestDatabase, table: String = TableSchema.defaultTable,
    compression: InsertCompression = .lz4
) async throws {
    let configuration = ClickHouseClient.Configuration(database)
    let schema = try await withClient(configuration) { client throws(ClickHouseError) in
        try TableSchema.load(table: table, of: client)
    }.get()
    let inserter = Inserter(
        configuration: Inserter.Configuration(client: configuration, workers: 2, compression: compression),
        schema: schema, logger: quiet, account: BlockLedger(maximumBytes: .max).openAccount())
    let stored = Mutex(0)
    for block in blocks { inserter.submit(block) { _ in stored.withLock { $0 += 1 } } }
    #expect(await inserter.drain(timeout: .seconds(300)) == 0)
    #expect(stored.withLock { $0 } == blocks.count)
}

/// Returns the expected rows of a flow: the text of each column, by name.
private func expectedRows(_ flow: LabeledFlow, environment: String = "testing") -> [[String: String]] {
    [("out", flow.sent), ("in", flow.received)].filter { !$0.1.isZero }.map { direction, counters in
        var row = [
            "date": "\(FlowBlock.day(of: lastSecondOfADay))", "intervalStartTime": "\(lastSecondOfADay - 59)",
            "intervalSeconds": "60",
            "environment": environment, "proto": flow.transport == .udp ? "udp" : "tcp",
            "connectionClass": flow.connectionClass.rawValue, "connectionFlags": "{}", "direction": direction,
            "remoteCloudService": flow.remote.labels.labels[.cloudService],
            "bytes": "\(counters.bytes)", "packets": "\(counters.packets)",
        ]
        for (side, end) in [("local", flow.local), ("remote", flow.remote)] {
            row["\(side)Cloud"] = end.labels.labels[.cloud]
            row["\(side)Region"] = end.labels.labels[.region]
            row["\(side)Cluster"] = end.labels.labels[.cluster]
            row["\(side)Cell"] = end.labels.labels[.cell]
            row["\(side)AvailabilityZone"] = end.labels.labels[.availabilityZone]
            row["\(side)Node"] = end.labels.labels[.node]
            row["\(side)InstanceID"] = end.labels.labels[.instanceID]
            row["\(side)Namespace"] = end.labels.labels[.namespace]
            row["\(side)Pod"] = end.labels.labels[.pod]
            row["\(side)App"] = end.labels.labels[.app]
            row["\(side)IPv4"] = "\(end.address)"
            row["\(side)Port"] = "\(end.port)"
        }
        return row
    }
}

/// Returns the table's rows, with every column as text.
private func storedRows(_ database: TestDatabase) async throws -> [[String: String]] {
    let text = try await database.query(
        """
        SELECT * REPLACE (toString(toUInt16(date)) AS date, toString(toUnixTimestamp(intervalStartTime)) AS intervalStartTime,
            toString(connectionFlags) AS connectionFlags, toString(bytes) AS bytes, toString(packets) AS packets,
            toString(intervalSeconds) AS intervalSeconds, toString(localPort) AS localPort,
            toString(remotePort) AS remotePort)
        FROM network_flows_0 FORMAT JSONEachRow
        """)
    return try text.split(separator: "\n").map { line in
        try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
    }
}

private func sorted(_ rows: [[String: String]]) -> [[String: String]] {
    rows.sorted { ($0["localPod"] ?? "", $0["direction"] ?? "") < ($1["localPod"] ?? "", $1["direction"] ?? "") }
}

extension BlockEncoder {
    /// Encodes a copy of a block, so that the test keeps the block.
    mutating func encoded(
        _ block: FlowBlock, for schema: TableSchema, compression: InsertCompression
    ) -> (body: ClickHouseClient.Body, rows: Int) {
        var block = block
        return encode(&block, for: schema, compression: compression)
    }
}

@Suite struct StoredRowsTests {
    @Test("every column is stored unchanged, whatever characters it contains")
    func everyColumnIsStoredAsItIs() async throws {
        let strings = [
            // Invalid UTF-8 is repaired when it becomes a String: U+FFFD replaces invalid bytes.
            String(decoding: [0x61, 0xff, 0xc3, 0x62], as: UTF8.self),
            "", "'", "\"", "\\", "\\n", "\n", "\t", "\r\n", "a b", "ü€😀", "\u{0}", "NULL", "\\N", "{}",
            String(repeating: "x", count: 300),
        ]
        var flows = strings.enumerated().map { number, text in
            labeledFlow(
                podLabels("\(number)\(text)"),
                EndpointLabels([
                    .cloud: text, .region: text, .cluster: text, .cell: text, .availabilityZone: text, .node: text,
                    .instanceID: text, .namespace: text, .pod: text, .app: text, .cloudService: text,
                ]),
                sent: FlowCounters(packets: 1, bytes: UInt64(number) + 1))
        }
        flows += ConnectionClass.allCases.map { labeledFlow(podLabels("class \($0)"), connectionClass: $0) }
        flows += [
            labeledFlow(podLabels("udp"), transport: .udp),
            labeledFlow(podLabels("ports"), ports: (UInt16.max, 0)),
            labeledFlow(
                podLabels("large"), sent: FlowCounters(packets: .max, bytes: .max),
                received: FlowCounters(packets: .max, bytes: .max)),
            labeledFlow(podLabels("one way"), received: FlowCounters()),
            labeledFlow(podLabels("no bytes"), sent: FlowCounters(packets: 3, bytes: 0)),
            labeledFlow(podLabels("nothing"), sent: FlowCounters(), received: FlowCounters()),
        ]
        let database = try await TestDatabase.make()
        let block = flowBlock(flows)
        try await insert([block], into: database)
        let expected = sorted(flows.flatMap { expectedRows($0) })
        let stored = sorted(try await storedRows(database))
        #expect(block.rows == expected.count)
        #expect(stored.count == expected.count)
        for (stored, expected) in zip(stored, expected) { #expect(stored == expected) }
    }

    @Test(
        "a protocol is stored by its name, or else by its number",
        arguments: [
            (TransportProtocol(rawValue: 0), "0"), (TransportProtocol(rawValue: 1), "icmp"), (.tcp, "tcp"),
            (.udp, "udp"),
            (TransportProtocol(rawValue: 33), "dccp"), (TransportProtocol(rawValue: 47), "gre"),
            (TransportProtocol(rawValue: 58), "icmpv6"), (TransportProtocol(rawValue: 132), "sctp"),
            (TransportProtocol(rawValue: 136), "udplite"), (TransportProtocol(rawValue: 255), "255"),
        ])
    func aProtocolHasItsNameOrNumber(transport: TransportProtocol, name: String) async throws {
        let database = try await TestDatabase.make()
        try await insert([flowBlock([labeledFlow(transport: transport)])], into: database)
        #expect(try await database.rows("SELECT DISTINCT proto FROM network_flows_0") == [[name]])
    }

    @Test("each day is a partition of its own") func eachDayIsAPartitionOfItsOwn() async throws {
        var next = FlowBlock(environment: "testing", dayOf: lastSecondOfADay + 1)
        next.append(labeledFlow(), observedAt: lastSecondOfADay + 1)
        let database = try await TestDatabase.make()
        let block = flowBlock()
        try await insert([block, next], into: database)
        let days = try await database.rows(
            """
            SELECT toUInt16(date) AS day, toUnixTimestamp(intervalStartTime), count(), sum(bytes) FROM network_flows_0
            GROUP BY ALL ORDER BY day
            """)
        #expect(
            days == [
                ["\(block.day)", "\(lastSecondOfADay - 59)", "2", "300"],
                ["\(block.day + 1)", "\(lastSecondOfADay + 1)", "2", "300"],
            ])
    }

    @Test("the strings of an endpoint are encoded once per block") func anEndpointsStringsStandOnceInABlock() throws {
        let columns = FlowColumn.allCases.map(\.name)
        let schema = try TableSchema(table: "t", columnNames: columns)
        let labels = (podLabels("a"), podLabels("b"))
        func size(_ flows: Int) -> Int {
            var encoder = BlockEncoder()
            let block = flowBlock((0..<flows).map { labeledFlow(labels.0, labels.1, ports: (UInt16($0), 1)) })
            return encoder.encoded(block, for: schema, compression: .none).body.bytes.count
        }
        // A row is its labels and 5 others of one byte each, an empty map of 8, and 70 bytes of numbers and addresses.
        let labelColumns = FlowColumn.allCases.filter { if case .label = $0 { true } else { false } }.count
        #expect(size(101) - size(100) == 2 * (labelColumns + 5 + 8 + 70))
    }

    @Test("a block holds 70,000 endpoints") func tensOfThousandsOfEndpointsFitABlock() async throws {
        let database = try await TestDatabase.make()
        let flows = (0..<70_000).map { number in
            labeledFlow(
                EndpointLabels([.pod: "pod-\(number)"]),
                sent: FlowCounters(packets: 1, bytes: UInt64(number) + 1), received: FlowCounters())
        }
        try await insert([flowBlock(flows)], into: database)
        let rows = try await database.rows(
            "SELECT count(), countIf(localPod = concat('pod-', toString(bytes - 1))), uniqExact(localPod) FROM network_flows_0"
        )
        #expect(rows == [["70000", "70000", "70000"]])
    }

    @Test("a table may lack optional columns and have additional ones")
    func aTableMayLackOptionalColumnsAndHaveOthers() async throws {
        let database = try await TestDatabase.make(withTable: false)
        try await database.query(
            """
            CREATE TABLE network_flows_0 (
                date Date, note String DEFAULT 'of its own', intervalStartTime DateTime, direction Enum('out' = 1, 'in' = 2),
                localPod LowCardinality(String), remotePort UInt16, bytes UInt64, packets UInt64,
                localApp String ALIAS upper(localPod), remoteApp String MATERIALIZED lower(localPod), proto String EPHEMERAL)
            ENGINE = MergeTree ORDER BY date
            """)
        try await insert([flowBlock()], into: database)
        let rows = try await database.rows(
            "SELECT note, direction, localPod, remotePort, bytes, localApp FROM network_flows_0 ORDER BY direction")
        #expect(
            rows == [
                ["of its own", "out", "a", "443", "100", "A"],
                ["of its own", "in", "a", "443", "200", "A"],
            ])
    }

    @Test("flows that differ in counters only become one row")
    func flowsThatDifferInCountersAloneAreOneRow() async throws {
        let database = try await TestDatabase.make()
        let labels = (podLabels("a"), podLabels("b"))
        let flows = (0..<100).map { labeledFlow(labels.0, labels.1, ports: (UInt16($0 % 10), 2)) }
        try await insert([flowBlock(flows)], into: database)
        #expect(
            try await database.rows("SELECT count(), sum(bytes), sum(packets) FROM network_flows_0")
                == [["20", "30000", "300"]])
    }
}
