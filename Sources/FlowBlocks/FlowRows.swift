// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The rows of a ``FlowBlock``, column by column, in memory that is reused for each block.
public struct FlowRows: Sendable {
    /// The values of the column `direction`.
    private enum Direction: Int8 {
        case out = 1
        case `in` = 2
    }

    /// The number of flows whose rows are made together: they stay in the processor's L1 cache while column after
    /// column is read.
    private static let flowsAtOnce = 256

    /// The number of rows.
    public private(set) var count = 0
    /// Starts of the intervals, in seconds since the Unix epoch.
    public private(set) var intervalStart: [UInt32] = []
    /// 1 for traffic that the local end sent, 2 for traffic that it received.
    public private(set) var direction: [Int8] = []
    /// Protocol numbers.
    public private(set) var transport: [UInt8] = []
    /// Indices among all cases of ``ConnectionClass``.
    public private(set) var connectionClass: [UInt8] = []
    /// Indices of the dialled services' labels in ``FlowBlock/endpoints``.
    public private(set) var service: [UInt32] = []
    /// ``ConnectionFlags``.
    public private(set) var flags: [UInt64] = []
    /// Network bytes.
    public private(set) var bytes: [UInt64] = []
    /// Packets.
    public private(set) var packets: [UInt64] = []
    /// 1 if the remote end opened the connection, 0 if the local end did.
    public private(set) var opener: [UInt8] = []
    /// Conntrack zones.
    public private(set) var zone: [UInt16] = []
    /// The local ends.
    public private(set) var local = Endpoints()
    /// The remote ends.
    public private(set) var remote = Endpoints()

    /// One end of the flows.
    public subscript(end: FlowColumn.End) -> Endpoints {
        switch end {
        case .local: local
        case .remote: remote
        }
    }

    /// One end of all rows.
    public struct Endpoints: Sendable {
        /// Indices of labels in ``FlowBlock/endpoints``.
        public fileprivate(set) var labels: [UInt32] = []
        /// Ports.
        public fileprivate(set) var port: [UInt16] = []
        /// IPv4 addresses; 0 if the end has an IPv6 address.
        public fileprivate(set) var ipv4: [UInt32] = []
        /// IPv6 addresses, 0 if the end has none; empty if no row of the block has one.
        public fileprivate(set) var ipv6: [UInt128] = []

        fileprivate mutating func removeAll() {
            labels.removeAll(keepingCapacity: true)
            port.removeAll(keepingCapacity: true)
            ipv4.removeAll(keepingCapacity: true)
            ipv6.removeAll(keepingCapacity: true)
        }

        fileprivate mutating func append(
            _ rows: Rows, _ end: (FlowRecord) -> FlowRecord.Endpoint, _ ipv6Addresses: [UInt128]
        ) {
            rows.append(to: &labels) { record, _ in end(record).labels }
            rows.append(to: &port) { record, _ in end(record).port }
            rows.append(to: &ipv4) { record, _ in end(record).isIPv6 ? 0 : end(record).address }
            guard !ipv6Addresses.isEmpty else { return }
            rows.append(to: &ipv6) { record, _ in end(record).isIPv6 ? ipv6Addresses[Int(end(record).address)] : 0 }
        }
    }

    /// Some flows, and the flows and directions among them that make rows.
    fileprivate struct Rows {
        let records: ArraySlice<FlowRecord>
        /// Twice the flow's offset in `records`, plus one for the direction `in`.
        let sources: [UInt32]

        func append<Value>(to column: inout [Value], _ value: (FlowRecord, _ isReceived: Bool) -> Value) {
            column.append(addingCapacity: sources.count) { span in
                records.withUnsafeBufferPointer { records in
                    for source in sources { span.append(value(records[Int(source >> 1)], source & 1 != 0)) }
                }
            }
        }
    }

    /// Makes rows that allocate no memory yet.
    public init() {}

    /// Replaces the rows with those of a block.
    public mutating func load(_ block: FlowBlock) {
        removeAll()
        let begin = UInt32(block.day) * FlowBlock.secondsPerDay
        var sources: [UInt32] = []
        sources.reserveCapacity(2 * Self.flowsAtOnce)
        for start in stride(from: 0, to: block.memory.records.count, by: Self.flowsAtOnce) {
            let records = block.memory.records[start..<min(start + Self.flowsAtOnce, block.memory.records.count)]
            sources.removeAll(keepingCapacity: true)
            for (place, record) in records.enumerated() {
                if record.isSent { sources.append(UInt32(place) * 2) }
                if record.isReceived { sources.append(UInt32(place) * 2 + 1) }
            }
            append(Rows(records: records, sources: sources), begin, block.memory.ipv6Addresses)
        }
    }

    private mutating func append(_ rows: Rows, _ begin: UInt32, _ ipv6Addresses: [UInt128]) {
        count += rows.sources.count
        rows.append(to: &intervalStart) { record, _ in begin + UInt32(record.minute) * FlowInterval.seconds }
        rows.append(to: &direction) { _, isReceived in (isReceived ? Direction.in : .out).rawValue }
        rows.append(to: &transport) { record, _ in record.transport }
        rows.append(to: &connectionClass) { record, _ in record.connectionClass }
        rows.append(to: &service) { record, _ in record.service }
        rows.append(to: &flags) { record, _ in record.flags }
        rows.append(to: &bytes) { record, isReceived in isReceived ? record.receivedBytes : record.sentBytes }
        rows.append(to: &packets) { record, isReceived in isReceived ? record.receivedPackets : record.sentPackets }
        rows.append(to: &opener) { record, _ in record.isOpenedByRemote ? 1 : 0 }
        rows.append(to: &zone) { record, _ in record.zone }
        local.append(rows, \.local, ipv6Addresses)
        remote.append(rows, \.remote, ipv6Addresses)
    }

    private mutating func removeAll() {
        count = 0
        intervalStart.removeAll(keepingCapacity: true)
        direction.removeAll(keepingCapacity: true)
        transport.removeAll(keepingCapacity: true)
        connectionClass.removeAll(keepingCapacity: true)
        service.removeAll(keepingCapacity: true)
        flags.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
        packets.removeAll(keepingCapacity: true)
        opener.removeAll(keepingCapacity: true)
        zone.removeAll(keepingCapacity: true)
        local.removeAll()
        remote.removeAll()
    }
}
