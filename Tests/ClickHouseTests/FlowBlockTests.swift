// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Foundation
import Labeling
import Logging
import Synchronization
import TestSupport
import Testing

@testable import ClickHouse

/// The last second of yesterday: the table drops days that are long gone.
let lastSecondOfADay = UInt32(Date().timeIntervalSince1970) / 86_400 * 86_400 - 1

/// Labels of a pod, all of them distinct.
func podLabels(_ name: String) -> EndpointLabels {
    EndpointLabels(
        cloud: "cloud \(name)", region: "region \(name)", cluster: "cluster \(name)", cell: "cell \(name)",
        availabilityZone: "zone \(name)", node: "node \(name)", instanceID: "instance \(name)",
        namespace: "namespace \(name)", pod: name, app: "app \(name)", cloudService: "service \(name)")
}

/// Keeps labels for as long as the process lives: flows do not.
func kept(_ labels: EndpointLabels) -> LabelsReference {
    keptLabels.withLock { $0.append(labels) }
    return LabelsReference(labels)
}

private let keptLabels = Mutex<[EndpointLabels]>([])

/// A flow between two pods.
func labeledFlow(
    _ local: EndpointLabels = podLabels("a"), _ remote: EndpointLabels = podLabels("b"),
    transport: TransportProtocol = .tcp, ports: (UInt16, UInt16) = (40_000, 443),
    connectionClass: ConnectionClass = .intraVPC, sent: FlowCounters = FlowCounters(packets: 1, bytes: 100),
    received: FlowCounters = FlowCounters(packets: 2, bytes: 200)
) -> LabeledFlow {
    LabeledFlow(
        transport: transport,
        local: LabeledEndpoint(labels: kept(local), address: IPAddress(v4: 0x0af4_010a), port: ports.0),
        remote: LabeledEndpoint(labels: kept(remote), address: IPAddress(v4: 0xffff_fffe), port: ports.1),
        connectionClass: connectionClass, sent: sent, received: received)
}

/// A block of flows that were observed at the last second of a day.
func flowBlock(_ flows: [LabeledFlow] = [labeledFlow()]) -> FlowBlock {
    var block = FlowBlock(environment: "testing", dayOf: lastSecondOfADay)
    for flow in flows { block.append(flow, observedAt: lastSecondOfADay) }
    return block
}

/// A logger that says nothing.
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
        schema: schema, logger: quiet,
        onPressure: { _ in })
    let stored = Mutex(0)
    for block in blocks { inserter.submit(block) { stored.withLock { $0 += 1 } } }
    #expect(await inserter.drain(timeout: .seconds(300)) == 0)
    #expect(stored.withLock { $0 } == blocks.count)
}

/// The rows that a flow makes in the table, as columns' texts in the DDL's order.
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

/// The table's rows, every column as text.
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
    /// What becomes of a block that the test keeps.
    mutating func encoded(
        _ block: FlowBlock, for schema: TableSchema, compression: InsertCompression
    ) -> (body: ClickHouseClient.Body, rows: Int) {
        var block = block
        return encode(&block, for: schema, compression: compression)
    }
}

@Suite struct FlowBlockTests {
    @Test func everyColumnIsStoredAsItIs() async throws {
        let strings = [
            // A text that is not UTF-8 is repaired when it becomes a String: U+FFFD for what is wrong.
            String(decoding: [0x61, 0xff, 0xc3, 0x62], as: UTF8.self),
            "", "'", "\"", "\\", "\\n", "\n", "\t", "\r\n", "a b", "ü€😀", "\u{0}", "NULL", "\\N", "{}",
            String(repeating: "x", count: 300),
        ]
        var flows = strings.enumerated().map { number, text in
            labeledFlow(
                podLabels("\(number)\(text)"),
                EndpointLabels(
                    cloud: text, region: text, cluster: text, cell: text, availabilityZone: text, node: text,
                    instanceID: text, namespace: text, pod: text, app: text, cloudService: text),
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

    @Test func memoryGrowsWithFlowsAndEndpoints() throws {
        let labels = (podLabels("a"), podLabels("b"))
        let one = flowBlock([labeledFlow(labels.0, labels.1)])
        let many = flowBlock((0..<10_000).map { _ in labeledFlow(labels.0, labels.1) })
        #expect(one.memoryBytes > 0 && one.memoryBytes < 64 << 10)
        // The allocator rounds what a few labels take.
        #expect(abs(many.memoryBytes - one.memoryBytes - 72 * 9_999) < 1 << 10)
        let endpoints = flowBlock((0..<10_000).map { labeledFlow(EndpointLabels(pod: "\($0)"), labels.1) })
        #expect(endpoints.memoryBytes > many.memoryBytes + 10_000 * 8)
    }

    @Test func rowsAndBytesAreCounted() {
        #expect(flowBlock([]).rows == 0)
        #expect(flowBlock([labeledFlow(sent: FlowCounters(), received: FlowCounters())]).rows == 0)
        #expect(flowBlock([labeledFlow(received: FlowCounters())]).rows == 1)
        #expect(flowBlock([labeledFlow(), labeledFlow()]).rows == 4)
        #expect(flowBlock([labeledFlow(), labeledFlow(received: FlowCounters())]).reportedBytes == 400)
    }

    @Test(arguments: [
        (TransportProtocol(rawValue: 0), "0"), (TransportProtocol(rawValue: 1), "icmp"), (.tcp, "tcp"), (.udp, "udp"),
        (TransportProtocol(rawValue: 33), "dccp"), (TransportProtocol(rawValue: 47), "gre"),
        (TransportProtocol(rawValue: 58), "icmpv6"), (TransportProtocol(rawValue: 132), "sctp"),
        (TransportProtocol(rawValue: 136), "udplite"), (TransportProtocol(rawValue: 255), "255"),
    ])
    func aProtocolHasItsNameOrNumber(transport: TransportProtocol, name: String) async throws {
        let database = try await TestDatabase.make()
        try await insert([flowBlock([labeledFlow(transport: transport)])], into: database)
        #expect(try await database.rows("SELECT DISTINCT proto FROM network_flows_0") == [[name]])
    }

    @Test func aBlockHasOneDayAndAnotherDayNeedsAnother() async throws {
        #expect(FlowBlock.day(of: lastSecondOfADay) + 1 == FlowBlock.day(of: lastSecondOfADay + 1))
        await #expect(processExitsWith: .failure) {
            var block = FlowBlock(environment: "testing", dayOf: lastSecondOfADay)
            block.append(labeledFlow(), observedAt: lastSecondOfADay + 1)
        }
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

    @Test func anEndpointsStringsStandOnceInABlock() throws {
        let columns = FlowColumn.allCases.map(\.rawValue)
        let schema = try TableSchema(table: "t", columnNames: columns)
        let labels = (podLabels("a"), podLabels("b"))
        func size(_ flows: Int) -> Int {
            var encoder = BlockEncoder()
            let block = flowBlock((0..<flows).map { labeledFlow(labels.0, labels.1, ports: (UInt16($0), 1)) })
            return encoder.encoded(block, for: schema, compression: .none).body.bytes.count
        }
        // A row is 24 labels and 4 others of one byte each, an empty map of 8, and 68 bytes of numbers and addresses.
        #expect(size(101) - size(100) == 2 * 104)
    }

    @Test func tensOfThousandsOfEndpointsFitABlock() async throws {
        let database = try await TestDatabase.make()
        let flows = (0..<70_000).map { number in
            labeledFlow(
                EndpointLabels(pod: "pod-\(number)"),
                sent: FlowCounters(packets: 1, bytes: UInt64(number) + 1), received: FlowCounters())
        }
        try await insert([flowBlock(flows)], into: database)
        let rows = try await database.rows(
            "SELECT count(), countIf(localPod = concat('pod-', toString(bytes - 1))), uniqExact(localPod) FROM network_flows_0"
        )
        #expect(rows == [["70000", "70000", "70000"]])
    }

    @Test func aTableMayLackOptionalColumnsAndHaveOthers() async throws {
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
}
