// SPDX-License-Identifier: Apache-2.0

/// The number of ignored flows, by reason.
public struct IgnoredFlows: Equatable, Sendable {
    /// The reason to ignore a flow. The raw values are values of a metric's label.
    public enum Reason: String, CaseIterable, Sendable {
        /// The flow has carried nothing since it was last read.
        case idle
        /// The flow's protocol is not collected.
        case transport = "protocol"
        /// The flow stays inside the host: 127.0.0.0/8 or ::1.
        case loopback
        /// The flow's conntrack zone is not collected.
        case zone
    }

    @usableFromInline var idle: UInt64 = 0
    @usableFromInline var transport: UInt64 = 0
    @usableFromInline var loopback: UInt64 = 0
    @usableFromInline var zone: UInt64 = 0

    /// Makes numbers that are all zero.
    @inlinable
    public init() {}

    /// The number of flows that were ignored for a reason.
    @inlinable
    public subscript(reason: Reason) -> UInt64 {
        get {
            switch reason {
            case .idle: idle
            case .transport: transport
            case .loopback: loopback
            case .zone: zone
            }
        }
        set {
            switch reason {
            case .idle: idle = newValue
            case .transport: transport = newValue
            case .loopback: loopback = newValue
            case .zone: zone = newValue
            }
        }
    }

    /// Adds the numbers of other ignored flows.
    static func += (sum: inout IgnoredFlows, other: IgnoredFlows) {
        for reason in Reason.allCases { sum[reason] &+= other[reason] }
    }
}
