// SPDX-License-Identifier: Apache-2.0

/// A number of flows and the network bytes that they report.
public struct FlowAmount: Hashable, Sendable {
    /// The number of flows.
    public var flows: UInt64
    /// The network bytes that the flows report.
    public var bytes: UInt64

    /// Makes an amount from its parts.
    @inlinable
    public init(flows: UInt64 = 0, bytes: UInt64 = 0) {
        self.flows = flows
        self.bytes = bytes
    }

    /// Adds a flow.
    @inlinable
    public mutating func add(_ flow: Flow) {
        flows += 1
        bytes &+= flow.bytes
    }

    /// Adds an amount.
    @inlinable
    public static func += (left: inout FlowAmount, right: FlowAmount) {
        left.flows &+= right.flows
        left.bytes &+= right.bytes
    }

    /// Subtracts an amount.
    @inlinable
    public static func -= (left: inout FlowAmount, right: FlowAmount) {
        left.flows &-= right.flows
        left.bytes &-= right.bytes
    }

    /// Returns the sum of two amounts.
    @inlinable
    public static func + (left: FlowAmount, right: FlowAmount) -> FlowAmount {
        var sum = left
        sum += right
        return sum
    }
}
