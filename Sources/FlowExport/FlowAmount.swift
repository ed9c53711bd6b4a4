// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// Flows and the network bytes that they report.
public struct FlowAmount: Equatable, Sendable {
    /// Flows.
    public var flows: UInt64 = 0
    /// Network bytes that they report.
    public var bytes: UInt64 = 0

    /// Nothing.
    public init() {}

    /// Makes an amount of its parts.
    public init(flows: UInt64, bytes: UInt64) {
        self.flows = flows
        self.bytes = bytes
    }

    init(_ batch: ExportBatch) { self.init(flows: UInt64(batch.flows), bytes: batch.reportedBytes) }

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

    /// The sum of two amounts.
    public static func + (left: FlowAmount, right: FlowAmount) -> FlowAmount {
        var sum = left
        sum += right
        return sum
    }
}

/// Where flows are taken from. The raw values are fit for a metric's label.
public enum FlowSource: String, CaseIterable, Sendable {
    /// The kernel's table: the connection lives.
    case scrape
    /// The event of a connection's end.
    case destroy
}
