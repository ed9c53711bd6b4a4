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
    private let flagNames: [String]
    /// The labels that rows refer to; the first are those of no endpoint.
    private var endpoints = [Self.noLabels]
    private var endpointNumbers: [UInt: UInt32] = [:]
    private static let noLabels = EndpointLabels(cluster: "")

    private var intervalStart: [UInt32] = []
    private var direction: [Int8] = []
    private var transport: [UInt32] = []
    private var connectionClass: [UInt32] = []
    private var local = EndpointColumns()
    private var remote = EndpointColumns()
    /// Numbers of services' labels.
    private var service: [UInt32] = []
    private var flags: [UInt64] = []
    private var counters: (packets: [UInt64], bytes: [UInt64]) = ([], [])

    private struct EndpointColumns {
        var number: [UInt32] = []
        var ipv4: [UInt32] = []
        /// As long as ``ipv4`` from the first IPv6 address on, empty before.
        var ipv6: [UInt128] = []
        var port: [UInt16] = []

        mutating func append(_ endpoint: LabeledEndpoint, number: UInt32) {
            if let v4 = endpoint.address.v4 {
                if !ipv6.isEmpty { ipv6.append(0) }
                ipv4.append(v4)
            } else {
                if ipv6.isEmpty { ipv6 = Array(repeating: 0, count: ipv4.count) }
                ipv6.append(endpoint.address.bits)
                ipv4.append(0)
            }
            self.number.append(number)
            port.append(endpoint.port)
        }
    }

    /// The values of the column `direction`.
    private enum Direction: Int8 {
        case out = 1
        case `in` = 2
    }

    /// Begins a block for the day of a moment.
    ///
    /// - Parameters:
    ///   - environment: The value of the column `environment`.
    ///   - flagNames: The names of ``ConnectionFlags`` in the order of their bits.
    ///   - second: The moment in seconds since the Unix epoch.
    public init(environment: String, flagNames: [String] = [], dayOf second: UInt32) {
        self.environment = environment
        self.flagNames = flagNames
        day = Self.day(of: second)
    }

    /// The day of a moment in seconds since the Unix epoch.
    public static func day(of second: UInt32) -> UInt16 { UInt16(truncatingIfNeeded: second / secondsPerDay) }

    /// Adds the flow's rows: one for what the local side sent and one for what it received, none for nothing.
    ///
    /// - Parameters:
    ///   - flow: A flow; between IPv6 addresses only where the table has columns for them (``TableSchema/hasIPv6``).
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
        service.append(flow.service.map { number(of: $0) } ?? 0)
        flags.append(flow.flags.rawValue)
        self.counters.packets.append(counters.packets)
        self.counters.bytes.append(counters.bytes)
        reportedBytes &+= counters.bytes
    }

    private mutating func number(of labels: LabelsReference) -> UInt32 {
        if let number = endpointNumbers[labels.identity] { return number }
        let number = UInt32(endpoints.count)
        // Kept from now on: whatever becomes of the endpoint, nobody else gets its place in memory.
        endpoints.append(labels.labels)
        endpointNumbers[labels.identity] = number
        return number
    }

    /// The rows in Native format, for the columns that the table has. There must be a row.
    func encoded(for schema: TableSchema) -> [UInt8] {
        var block = NativeBlock(columns: schema.columns.count, rows: rows)
        var keyIndexes = [UInt32](repeating: .max, count: LabelTable.capacity)
        for column in schema.columns { append(column, to: &block, &keyIndexes) }
        return block.bytes
    }

    private func append(_ column: FlowColumn, to block: inout NativeBlock, _ keyIndexes: inout [UInt32]) {
        let name = column.rawValue
        if let (isLocal, label) = column.label {
            return append(name, isLocal ? local.number : remote.number, label, to: &block, &keyIndexes)
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
            block.appendColumn(name, flags: flags, names: flagNames)
        case .direction:
            block.appendColumn(name, type: "Enum8('out' = 1, 'in' = 2)", direction)
        case .localIPv4: block.appendColumn(name, type: "IPv4", local.ipv4)
        case .localIPv6: block.appendColumn(name, ipv6: local.ipv6)
        case .remoteIPv6: block.appendColumn(name, ipv6: remote.ipv6)
        case .remoteService: append(name, service, .service, to: &block, &keyIndexes)
        case .localPort: block.appendColumn(name, type: "UInt16", local.port)
        case .remoteIPv4: block.appendColumn(name, type: "IPv4", remote.ipv4)
        case .remotePort: block.appendColumn(name, type: "UInt16", remote.port)
        case .bytes: block.appendColumn(name, type: "UInt64", counters.bytes)
        case .packets: block.appendColumn(name, type: "UInt64", counters.packets)
        default: preconditionFailure("column \(name) is a label")
        }
    }

    /// A label's column: the numbers of its distinct texts become indexes into the block's own dictionary, once for each
    /// endpoint; the texts themselves are touched once each.
    ///
    /// - Parameter keyIndexes: Scratch memory by the numbers of texts; `.max` everywhere, before and after.
    private func append(
        _ name: String, _ rows: [UInt32], _ label: Label, to block: inout NativeBlock, _ keyIndexes: inout [UInt32]
    ) {
        var keys: [LabelID] = []
        let indexOfEndpoint = endpoints.map { endpoint in
            let key = endpoint.id(of: label)
            if keyIndexes[Int(key.number)] == .max {
                keyIndexes[Int(key.number)] = UInt32(keys.count)
                keys.append(key)
            }
            return keyIndexes[Int(key.number)]
        }
        for key in keys { keyIndexes[Int(key.number)] = .max }
        block.appendColumn(
            name, keys: LabelTable.texts(of: keys), indexes: rows.map { indexOfEndpoint[Int($0)] })
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
