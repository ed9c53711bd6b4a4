// SPDX-License-Identifier: Apache-2.0

/// The number of flows that were left out, by reason.
public struct IgnoredFlows: Equatable, Sendable {
    /// Why a flow is left out. The raw values are fit for a metric's label.
    public enum Reason: String, CaseIterable, Sendable {
        /// It has carried nothing since it was last read.
        case idle
        /// Its protocol is not one that is collected.
        case transport = "protocol"
        /// It stays inside the host: 127.0.0.0/8 or ::1.
        case loopback
        /// It stands in a conntrack zone that is not collected.
        case zone
    }

    @usableFromInline var idle: UInt64 = 0
    @usableFromInline var transport: UInt64 = 0
    @usableFromInline var loopback: UInt64 = 0
    @usableFromInline var zone: UInt64 = 0

    /// None.
    @inlinable
    public init() {}

    /// The number of flows that were left out for a reason.
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

    /// Adds what was left out besides.
    static func += (sum: inout IgnoredFlows, other: IgnoredFlows) {
        for reason in Reason.allCases { sum[reason] &+= other[reason] }
    }
}
