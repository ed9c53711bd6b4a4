// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// A flow in a ``FlowBlock``, which makes up to two rows: 72 bytes, without IPv6 addresses, which the block keeps.
struct FlowRecord: BitwiseCopyable, Sendable {
    /// The minute of the day.
    var minute: UInt16
    var transport: UInt8
    /// ``connectionClass`` and, in the highest bit, ``isOpenedByRemote``.
    private var classAndOpener: UInt8
    var local: Endpoint
    /// Half of ``zone``. It is in the padding behind an end, where a number of two bytes does not fit.
    private var highZone: UInt8
    var remote: Endpoint
    private var lowZone: UInt8
    /// The index of the dialled service's labels in the block.
    var service: UInt32
    var flags: UInt64
    var sentPackets: UInt64
    var sentBytes: UInt64
    var receivedPackets: UInt64
    var receivedBytes: UInt64

    private static let openerBit: UInt8 = 0x80

    init(
        minute: UInt16, transport: UInt8, connectionClass: UInt8, isOpenedByRemote: Bool, local: Endpoint,
        remote: Endpoint, service: UInt32, flags: UInt64, zone: UInt16, sent: FlowCounters, received: FlowCounters
    ) {
        self.minute = minute
        self.transport = transport
        classAndOpener = connectionClass | (isOpenedByRemote ? Self.openerBit : 0)
        self.local = local
        highZone = UInt8(truncatingIfNeeded: zone >> 8)
        self.remote = remote
        lowZone = UInt8(truncatingIfNeeded: zone)
        self.service = service
        self.flags = flags
        (sentPackets, sentBytes) = (sent.packets, sent.bytes)
        (receivedPackets, receivedBytes) = (received.packets, received.bytes)
    }

    /// The class's index among all classes.
    var connectionClass: UInt8 { classAndOpener & ~Self.openerBit }
    /// Whether the remote end opened the connection; else, the local end did.
    var isOpenedByRemote: Bool { classAndOpener & Self.openerBit != 0 }
    /// The conntrack zone.
    var zone: UInt16 { UInt16(highZone) << 8 | UInt16(lowZone) }

    /// Forgets which end opened the connection.
    mutating func removeOpener() { classAndOpener &= ~Self.openerBit }

    /// Forgets the zone.
    mutating func removeZone() { (highZone, lowZone) = (0, 0) }

    /// Returns whether the class, the opener and the zone are those of another flow.
    func hasSameConnection(as other: FlowRecord) -> Bool {
        classAndOpener == other.classAndOpener && highZone == other.highZone && lowZone == other.lowZone
    }

    /// One end of the flow.
    struct Endpoint: BitwiseCopyable, Sendable {
        /// The index of its labels in the block.
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
