// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowBlocks

extension FlowColumn {
    /// The columns without which a row carries no information.
    static let required: [FlowColumn] = [.date, .intervalStartTime, .direction, .bytes, .packets]

    /// The columns of kubenetmon's own table, those of deploy/clickhouse/001_network_flows_0.sql.
    static let original = allCases.filter { $0.migration == nil }

    /// The file in deploy/clickhouse, without `.sql`, that adds the column to the original table.
    var migration: String? {
        switch self {
        case .label(let label, _): label.definition.migration
        case .ipv6: "002_extended_columns"
        case .opened, .conntrackZone: "008_opened_and_zone"
        case .date, .intervalStartTime, .intervalSeconds, .environment, .proto, .connectionClass, .connectionFlags,
            .direction, .ipv4, .port, .bytes, .packets:
            nil
        }
    }
}
