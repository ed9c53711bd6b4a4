// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

extension FlowColumn {
    /// Without these a row would say nothing.
    static let required: [FlowColumn] = [.date, .intervalStartTime, .direction, .bytes, .packets]

    /// The columns of the original's table, those of deploy/clickhouse/001_network_flows_0.sql.
    static let original = allCases.prefix { $0 != .localWorkload }
}
