// SPDX-License-Identifier: Apache-2.0

/// What a sink stores of a row.
public struct BlockForm: Equatable, Sendable {
    /// The columns that the sink has; the others of a block are left out.
    public let columns: Set<FlowColumn>

    /// Makes a form of the sink's columns.
    public init(columns: some Sequence<FlowColumn>) { self.columns = Set(columns) }

    /// True where flows between IPv6 addresses can be told apart. A block holds such flows only then.
    public var hasIPv6: Bool { columns.isSuperset(of: [.localIPv6, .remoteIPv6]) }
}
