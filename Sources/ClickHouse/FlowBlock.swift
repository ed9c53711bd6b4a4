// SPDX-License-Identifier: Apache-2.0

import FlowModel
public import Labeling

/// Rows of one day on their way into ClickHouse, as columns. Labels are kept once for each endpoint, rows refer to them.
public struct FlowBlock: Sendable {
    /// The resolution of the table in seconds.
    public static let intervalSeconds: UInt32 = 60

    private static let secondsPerDay: UInt32 = 86_400

    /// The day of all rows in UTC, in days since the Unix epoch: a block never spans two partitions.
    public let day: UInt16
    /// Rows so far.
    public var rows: Int { counters.bytes.count }
    /// Network bytes that the rows report.
    public private(set) var reportedBytes: UInt64 = 0

    private let environment: String
    private var endpoints: [EndpointLabels] = []
    private var endpointNumbers: [ObjectIdentifier: UInt32] = [:]

    private var intervalStart: [UInt32] = []
    private var direction: [Int8] = []
    private var transport: [UInt32] = []
    private var connectionClass: [UInt32] = []
    private var local = EndpointColumns()
    private var remote = EndpointColumns()
    private var counters: (packets: [UInt64], bytes: [UInt64]) = ([], [])

    private struct EndpointColumns {
        var number: [UInt32] = []
        var ipv4: [UInt32] = []
        var port: [UInt16] = []

        mutating func append(_ endpoint: LabeledEndpoint, number: UInt32) {
            self.number.append(number)
            ipv4.append(endpoint.address.v4 ?? 0)
            port.append(endpoint.port)
        }
    }

    /// The values of the column `direction`.
    private enum Direction: Int8 {
        case out = 1
        case `in` = 2
    }

    /// Begins a block for the day of a moment, which is given in seconds since the Unix epoch.
    public init(environment: String, dayOf second: UInt32) {
        self.environment = environment
        day = Self.day(of: second)
    }

    /// The day of a moment in seconds since the Unix epoch.
    public static func day(of second: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: second / secondsPerDay) }

    /// Adds the flow's rows: one for what the local side sent and one for what it received, none for nothing.
    ///
    /// - Parameters:
    ///   - flow: A flow between IPv4 addresses.
    ///   - second: When it was observed, on the block's day, in seconds since the Unix epoch.
    public mutating func append(_ flow: LabeledFlow, observedAt second: UInt32) {
        precondition(Self.day(of: second) == day, "a block never spans two days")
        append(flow, .out, flow.sent, second)
        append(flow, .in, flow.received, second)
    }

    private mutating func append(
        _ flow: LabeledFlow, _ direction: Direction, _ counters: FlowCounters, _ second: UInt32
    ) {
        guard !counters.isZero else { return }
        intervalStart.append(second - second % Self.intervalSeconds)
        self.direction.append(direction.rawValue)
        transport.append(UInt32(flow.transport.rawValue))
        connectionClass.append(flow.connectionClass.columnIndex)
        local.append(flow.local, number: number(of: flow.local.labels))
        remote.append(flow.remote, number: number(of: flow.remote.labels))
        self.counters.packets.append(counters.packets)
        self.counters.bytes.append(counters.bytes)
        reportedBytes &+= counters.bytes
    }

    private mutating func number(of labels: EndpointLabels) -> UInt32 {
        let identity = ObjectIdentifier(labels)
        if let number = endpointNumbers[identity] { return number }
        let number = UInt32(endpoints.count)
        endpoints.append(labels)
        endpointNumbers[identity] = number
        return number
    }

    /// The rows in Native format, for the columns that the table has. There must be a row.
    func encoded(for schema: TableSchema) -> [UInt8] {
        var block = NativeBlock(columns: schema.columns.count, rows: rows)
        for column in schema.columns { append(column, to: &block) }
        return block.bytes
    }

    private func append(_ column: FlowColumn, to block: inout NativeBlock) {
        let name = column.rawValue
        if let (isLocal, value) = column.label {
            return append(name, isLocal ? local : remote, value, to: &block)
        }
        switch column {
        case .date:
            block.appendColumn(name, type: "Date", [UInt16](repeating: day, count: rows))
        case .intervalStartTime:
            block.appendColumn(name, type: "DateTime", intervalStart)
        case .intervalSeconds:
            block.appendColumn(
                name, type: "UInt16", [UInt16](repeating: UInt16(Self.intervalSeconds), count: rows))
        case .environment:
            block.appendColumn(name, keys: [environment], indexes: [UInt32](repeating: 0, count: rows))
        case .proto:
            block.appendColumn(name, keys: Self.transportNames, indexes: transport)
        case .connectionClass:
            block.appendColumn(name, keys: ConnectionClass.allCases.map(\.rawValue), indexes: connectionClass)
        case .connectionFlags:
            block.appendEmptyMaps(name)
        case .direction:
            block.appendColumn(name, type: "Enum8('out' = 1, 'in' = 2)", direction)
        case .localIPv4: block.appendColumn(name, type: "IPv4", local.ipv4)
        case .localPort: block.appendColumn(name, type: "UInt16", local.port)
        case .remoteIPv4: block.appendColumn(name, type: "IPv4", remote.ipv4)
        case .remotePort: block.appendColumn(name, type: "UInt16", remote.port)
        case .bytes: block.appendColumn(name, type: "UInt64", counters.bytes)
        case .packets: block.appendColumn(name, type: "UInt64", counters.packets)
        default: preconditionFailure("column \(name) is a label")
        }
    }

    /// A label's column: its distinct values are gathered over the endpoints, not over the rows.
    private func append(
        _ name: String, _ side: EndpointColumns, _ value: KeyPath<EndpointLabels, String>, to block: inout NativeBlock
    ) {
        var keys: [String] = []
        var keyIndexes: [String: UInt32] = [:]
        let indexOfEndpoint = endpoints.map { endpoint in
            let key = endpoint[keyPath: value]
            if let index = keyIndexes[key] { return index }
            let index = UInt32(keys.count)
            keys.append(key)
            keyIndexes[key] = index
            return index
        }
        block.appendColumn(name, keys: keys, indexes: side.number.map { indexOfEndpoint[Int($0)] })
    }

    /// The values of the column `proto` by protocol number: the names that netfilter and /etc/protocols use, the number
    /// where there is none.
    private static let transportNames: [String] = (0...255).map { number in
        switch number {
        case 1: "icmp"
        case 6: "tcp"
        case 17: "udp"
        case 33: "dccp"
        case 47: "gre"
        case 58: "icmpv6"
        case 132: "sctp"
        case 136: "udplite"
        default: String(number)
        }
    }
}

extension ConnectionClass {
    /// Its place among all classes.
    fileprivate var columnIndex: UInt32 {
        switch self {
        case .unknown: 0
        case .intraVPC: 1
        case .intraRegion: 2
        case .interRegion: 3
        case .publicInternet: 4
        }
    }
}
