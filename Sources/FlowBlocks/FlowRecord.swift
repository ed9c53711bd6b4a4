// SPDX-License-Identifier: Apache-2.0

/// A flow in a ``FlowBlock``, which makes up to two rows: 72 bytes, without IPv6 addresses, which the block keeps.
struct FlowRecord: BitwiseCopyable, Sendable {
    /// The minute of the day.
    var minute: UInt16
    var transport: UInt8
    /// The class's index among all classes.
    var connectionClass: UInt8
    var local: Endpoint
    var remote: Endpoint
    /// The number of the dialled service's labels.
    var service: UInt32
    var flags: UInt64
    var sentPackets: UInt64
    var sentBytes: UInt64
    var receivedPackets: UInt64
    var receivedBytes: UInt64

    /// One end of the flow.
    struct Endpoint: BitwiseCopyable, Sendable {
        /// The number of its labels.
        var labels: UInt32
        /// Its IPv4 address, or the index of its IPv6 address in the block.
        var address: UInt32
        var port: UInt16
        var isIPv6: Bool
    }

    var isSent: Bool { sentPackets | sentBytes != 0 }
    var isReceived: Bool { receivedPackets | receivedBytes != 0 }

    /// Adds the counters of another observation of the same flow.
    mutating func addCounters(of other: FlowRecord) {
        sentPackets &+= other.sentPackets
        sentBytes &+= other.sentBytes
        receivedPackets &+= other.receivedPackets
        receivedBytes &+= other.receivedBytes
    }
}
