// SPDX-License-Identifier: Apache-2.0

/// The columns that a sink stores of a row.
public struct BlockForm: Equatable, Sendable {
    /// The columns that the sink has; a block's other columns are left out.
    public let columns: Set<FlowColumn>

    /// Makes a form from the sink's columns.
    public init(columns: some Sequence<FlowColumn>) { self.columns = Set(columns) }

    /// True if the columns distinguish flows between IPv6 addresses. Blocks contain such flows only then.
    package var hasIPv6: Bool { columns.isSuperset(of: [.ipv6(.local), .ipv6(.remote)]) }
}
