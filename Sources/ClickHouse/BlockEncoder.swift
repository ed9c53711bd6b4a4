// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowBlocks
import FlowModel
import Labeling

/// Encodes blocks as bodies of inserts, one after another, in memory that it keeps.
struct BlockEncoder: Sendable {
    /// The minimum input of one compression call, in bytes; smaller pieces compress worse.
    private static let pieceBytes = 128 << 10

    private var merge = FlowMerge()
    private var rows = FlowRows()
    private var labels = LabelDictionaries()
    private var piece: [UInt8] = []
    private var compressor = Compressor()

    /// Encodes a block as the body of an insert: the rows in Native format for the columns that the table has,
    /// compressed. Returns the body and its number of rows, which is at least 1 and at most the block's. The block must
    /// have rows.
    ///
    /// - Parameters:
    ///   - block: The block; it is empty afterwards.
    ///   - schema: The table.
    ///   - compression: The compression of the body.
    ///   - memory: Memory to reuse for the body, such as that of an earlier body.
    mutating func encode(
        _ block: inout FlowBlock, for schema: TableSchema, compression: InsertCompression,
        reusing memory: consuming [UInt8] = []
    ) -> (body: ClickHouseClient.Body, rows: Int) {
        block.mergeFlows(with: &merge, for: schema.form)
        rows.load(block)
        labels.load(block.endpoints)
        var body = consume memory
        body.removeAll(keepingCapacity: true)
        // Without compression, a row of all columns takes 107 bytes plus its share of the texts.
        body.reserveCapacity(4096 + rows.count * 113)
        if compression == .none {
            var output = NativeBlock(columns: schema.columns.count, rows: rows.count, reusing: consume body)
            for column in schema.columns { append(column, of: block, to: &output) }
            body = output.bytes
        } else {
            appendCompressed(block, for: schema, compression, to: &body)
        }
        labels.removeAll()
        block.recycle()
        return (ClickHouseClient.Body(body, compression: compression), rows.count)
    }

    /// Compresses a few columns at a time, so that a whole block never exists uncompressed.
    private mutating func appendCompressed(
        _ block: FlowBlock, for schema: TableSchema, _ compression: InsertCompression, to body: inout [UInt8]
    ) {
        var memory: [UInt8] = []
        swap(&memory, &piece)
        var output = NativeBlock(columns: schema.columns.count, rows: rows.count, reusing: consume memory)
        for column in schema.columns {
            append(column, of: block, to: &output)
            if output.bytes.count >= Self.pieceBytes {
                output.takeBytes { compressor.append($0, to: &body, with: compression) }
            }
        }
        output.takeBytes { compressor.append($0, to: &body, with: compression) }
        compressor.finish(&body, with: compression)
        piece = output.bytes
    }

    private mutating func append(_ column: FlowColumn, of block: FlowBlock, to output: inout NativeBlock) {
        let name = column.name
        switch column {
        case .date:
            output.appendColumn(name, type: "Date", constant: block.day)
        case .intervalStartTime:
            output.appendColumn(name, type: "DateTime", rows.intervalStart)
        case .intervalSeconds:
            output.appendColumn(name, type: "UInt16", constant: UInt16(FlowInterval.seconds))
        case .environment:
            output.appendColumn(name, constant: block.environment)
        case .proto:
            output.appendColumn(name, keys: Self.transportNames, indexes: rows.transport)
        case .connectionClass:
            output.appendColumn(name, keys: Self.connectionClasses, indexes: rows.connectionClass)
        case .connectionFlags:
            output.appendColumn(name, flags: rows.flags, names: NativeKeys(block.flagNames))
        case .direction:
            output.appendColumn(name, type: "Enum8('out' = 1, 'in' = 2)", rows.direction)
        case .label(let label, let end):
            let isOfService = label.definition.source == .dialledService
            append(name, isOfService ? rows.service : rows[end].labels, label, to: &output)
        case .ipv4(let end): output.appendColumn(name, type: "IPv4", rows[end].ipv4)
        case .ipv6(let end): output.appendColumn(name, ipv6: rows[end].ipv6)
        case .port(let end): output.appendColumn(name, type: "UInt16", rows[end].port)
        case .bytes: output.appendColumn(name, type: "UInt64", rows.bytes)
        case .packets: output.appendColumn(name, type: "UInt64", rows.packets)
        case .opened: output.appendColumn(name, keys: Self.openers, indexes: rows.opener)
        case .conntrackZone: output.appendColumn(name, type: "UInt16", rows.zone)
        }
    }

    /// Appends a label's column; `rows` holds the index of each row's endpoint.
    private mutating func append(_ name: String, _ rows: [UInt32], _ label: Label, to output: inout NativeBlock) {
        let dictionary = labels.dictionary(of: label)
        output.appendColumn(name, keys: dictionary.keys, indexes: dictionary.indexes, ofRows: rows)
    }

    /// The values of the column `proto` by protocol number.
    private static let transportNames = NativeKeys(
        (0...UInt8.max).map { TransportProtocol(rawValue: $0).description })

    /// The values of the column `opened`, by ``FlowRows/opener``.
    private static let openers = NativeKeys(FlowColumn.End.allCases.map(\.rawValue))

    private static let connectionClasses = NativeKeys(ConnectionClass.allCases.map(\.rawValue))
}
