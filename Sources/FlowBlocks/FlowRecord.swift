// SPDX-License-Identifier: Apache-2.0

/// A flow in a ``FlowBlock``, which makes up to two rows: 72 bytes, addresses of IPv6 apart.
struct FlowRecord: BitwiseCopyable, Sendable {
    /// The minute of its day.
    var minute: UInt16
    var transport: UInt8
    /// The class's place among all classes.
    var connectionClass: UInt8
    var local: Endpoint
    var remote: Endpoint
    /// The number of the labels of the service that was dialled.
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
        /// Its IPv4 address, or where its IPv6 address is among the block's.
        var address: UInt32
        var port: UInt16
        var isIPv6: Bool
    }

    var isSent: Bool { sentPackets | sentBytes != 0 }
    var isReceived: Bool { receivedPackets | receivedBytes != 0 }

    /// Adds what another observation of the same flow has counted.
    mutating func addCounters(of other: FlowRecord) {
        sentPackets &+= other.sentPackets
        sentBytes &+= other.sentBytes
        receivedPackets &+= other.receivedPackets
        receivedBytes &+= other.receivedBytes
    }
}
