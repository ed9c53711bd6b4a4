// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A number of flows and the network bytes that they report.
public struct FlowAmount: Equatable, Sendable {
    /// The number of flows.
    public var flows: UInt64 = 0
    /// The network bytes that the flows report.
    public var bytes: UInt64 = 0

    /// Makes an amount of zero.
    public init() {}

    /// Makes an amount from its parts.
    public init(flows: UInt64, bytes: UInt64) {
        self.flows = flows
        self.bytes = bytes
    }

    /// Adds a flow.
    public mutating func add(_ flow: Flow) {
        flows += 1
        bytes &+= flow.bytes
    }

    static func += (left: inout FlowAmount, right: FlowAmount) {
        left.flows &+= right.flows
        left.bytes &+= right.bytes
    }

    static func -= (left: inout FlowAmount, right: FlowAmount) {
        left.flows &-= right.flows
        left.bytes &-= right.bytes
    }

    /// Returns the sum of two amounts.
    public static func + (left: FlowAmount, right: FlowAmount) -> FlowAmount {
        var sum = left
        sum += right
        return sum
    }
}

/// The source of flows. The raw values serve as a metric's label.
public enum FlowSource: String, CaseIterable, Sendable {
    /// The kernel's conntrack table: the connection is alive.
    case scrape
    /// The DESTROY event at a connection's end.
    case destroy
}
