// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

/// The row that a fence inserts under the deduplication token of a block, and the question whether it is in the table.
///
/// ClickHouse stores either the block or the row. The row has its own key, `localPod = 'fence/TOKEN'`, at midnight of the
/// block's day: deduplication works within a partition. It reports no bytes. It has one packet, because a merge of a
/// SummingMergeTree removes rows whose sums are all zero.
enum FenceMarker {
    /// The columns that the server's user must be allowed to read.
    static let columns: [FlowColumn] = [
        .date, .intervalStartTime, .direction, .proto, .label(.pod, .local), .packets,
    ]

    /// Returns the pod's name in the row of a token.
    static func podName(of token: String) -> String { "fence/\(token)" }

    /// Returns the start of a day in seconds since the Unix epoch. Days beyond 2106 do not fit 32 bits.
    private static func midnight(of day: UInt16) -> UInt32 { UInt32(day) &* 86_400 }

    /// Returns the row as the body of an insert.
    static func body(of token: String, day: UInt16) -> ClickHouseClient.Body {
        var block = NativeBlock(columns: columns.count + 1, rows: 1)
        block.appendColumn(FlowColumn.date.name, type: "Date", constant: day)
        block.appendColumn(FlowColumn.intervalStartTime.name, type: "DateTime", constant: midnight(of: day))
        block.appendColumn(FlowColumn.direction.name, type: "Enum8('out' = 1, 'in' = 2)", constant: UInt8(1))
        block.appendColumn(FlowColumn.proto.name, constant: "")
        block.appendColumn(FlowColumn.label(.pod, .local).name, constant: podName(of: token))
        block.appendColumn(FlowColumn.bytes.name, type: "UInt64", constant: UInt64(0))
        block.appendColumn(FlowColumn.packets.name, type: "UInt64", constant: UInt64(1))
        return ClickHouseClient.Body(block.bytes)
    }

    /// Inserts the row. It is dropped if ClickHouse has the token already.
    static func insert(
        _ token: String, day: UInt16, into schema: TableSchema, over client: borrowing ClickHouseClient
    ) throws(ClickHouseError) {
        // The same as a block's, so that the fence passes to the views of the table as the block does.
        var settings = InsertBatch.settings(isAsynchronous: false, into: schema, timeoutMilliseconds: 0)
        settings.append((name: "insert_deduplication_token", value: token))
        if schema.knowsIgnoringViews { settings.append((name: "materialized_views_ignore_errors", value: "1")) }
        try client.insert(
            schema.insertStatement(of: columns + [.bytes]), body(of: token, day: day), settings: settings)
    }

    /// Returns those of the tokens whose rows are in the table of the endpoint in use.
    static func find(
        _ tokens: [(text: String, day: UInt16)], in schema: TableSchema, asking client: borrowing ClickHouseClient
    ) throws(ClickHouseError) -> Set<String> {
        let days = Set(tokens.map(\.day)).sorted()
        let pods = tokens.map { "'\(podName(of: $0.text))'" }
        let answer = try client.queryEndpoint(
            """
            SELECT DISTINCT localPod FROM \(schema.quotedTable) \
            WHERE date IN (\(days.map { "toDate(\($0))" }.joined(separator: ", "))) \
            AND intervalStartTime IN (\(days.map { "toDateTime(\(midnight(of: $0)))" }.joined(separator: ", "))) \
            AND direction = 'out' AND proto = '' AND localPod IN (\(pods.joined(separator: ", "))) AND packets > 0 \
            FORMAT TabSeparatedRaw
            """)
        let prefix = podName(of: "")
        return Set(answer.split(whereSeparator: \.isNewline).map { String($0.dropFirst(prefix.count)) })
    }
}
