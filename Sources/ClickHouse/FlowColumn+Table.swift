// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

extension FlowColumn {
    /// The columns without which a row carries no information.
    static let required: [FlowColumn] = [.date, .intervalStartTime, .direction, .bytes, .packets]

    /// The columns of kubenetmon's own table, those of deploy/clickhouse/001_network_flows_0.sql.
    static let original = allCases.prefix { $0 != .localWorkload }
}
