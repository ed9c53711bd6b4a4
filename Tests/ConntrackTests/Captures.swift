// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Testing

/// A message of a Linux 6.18 kernel in response to `IPCTNL_MSG_CT_GET`, and the flow that it describes.
struct Capture: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let flow: Flow

    static let all = [tcpOverIPv4, udpWithTranslatedDestination, tcpOverIPv6, icmpEcho]

    /// A TCP connection over IPv4.
    static let tcpOverIPv4 = Capture(
        testDescription: "TCP over IPv4",
        flow: Flow(
            transport: .tcp,
            original: tuple("192.0.2.10", 40000, "198.51.100.10", 8080),
            reply: tuple("198.51.100.10", 8080, "192.0.2.10", 40000),
            originalCounters: FlowCounters(packets: 4, bytes: 1216),
            replyCounters: FlowCounters(packets: 3, bytes: 2164)),
        """
        0c010000 0001 0200 07000000 05000000                 ; nlmsghdr: 268 bytes, IPCTNL_MSG_CT_NEW, NLM_F_MULTI
        02000000                                             ; nfgenmsg: AF_INET
          3400 0180                                          ; CTA_TUPLE_ORIG
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c000020a                             ; CTA_IP_V4_SRC 192.0.2.10
              0800 0200 c633640a                             ; CTA_IP_V4_DST 198.51.100.10
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 06000000                             ; CTA_PROTO_NUM 6
              0600 0200 9c400000                             ; CTA_PROTO_SRC_PORT 40000
              0600 0300 1f900000                             ; CTA_PROTO_DST_PORT 8080
          3400 0280                                          ; CTA_TUPLE_REPLY
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c633640a                             ; CTA_IP_V4_SRC 198.51.100.10
              0800 0200 c000020a                             ; CTA_IP_V4_DST 192.0.2.10
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 06000000                             ; CTA_PROTO_NUM 6
              0600 0200 1f900000                             ; CTA_PROTO_SRC_PORT 8080
              0600 0300 9c400000                             ; CTA_PROTO_DST_PORT 40000
          0800 0300 0000018e                                 ; CTA_STATUS
          0800 0800 00000000                                 ; CTA_MARK
          0800 0c00 b70a15c3                                 ; CTA_ID
          0800 0b00 00000001                                 ; CTA_USE
          0800 0700 0006977f                                 ; CTA_TIMEOUT
          3000 0480                                          ; CTA_PROTOINFO
            2c00 0180                                        ; CTA_PROTOINFO_TCP
              0500 0100 03000000                             ; CTA_PROTOINFO_TCP_STATE
              0500 0200 0a000000                             ; CTA_PROTOINFO_TCP_WSCALE_ORIGINAL
              0500 0300 0a000000                             ; CTA_PROTOINFO_TCP_WSCALE_REPLY
              0600 0400 23000000                             ; CTA_PROTOINFO_TCP_FLAGS_ORIGINAL
              0600 0500 23000000                             ; CTA_PROTOINFO_TCP_FLAGS_REPLY
          1c00 0980                                          ; CTA_COUNTERS_ORIG
            0c00 0100 0000000000000004                       ; CTA_COUNTERS_PACKETS 4
            0c00 0200 00000000000004c0                       ; CTA_COUNTERS_BYTES 1216
          1c00 0a80                                          ; CTA_COUNTERS_REPLY
            0c00 0100 0000000000000003                       ; CTA_COUNTERS_PACKETS 3
            0c00 0200 0000000000000874                       ; CTA_COUNTERS_BYTES 2164
        """)

    /// A UDP request to 203.0.113.53:53, which DNAT translated to 198.51.100.10:5353, and its response.
    static let udpWithTranslatedDestination = Capture(
        testDescription: "UDP over IPv4, its destination translated",
        flow: Flow(
            transport: .udp,
            original: tuple("192.0.2.10", 40001, "203.0.113.53", 53),
            reply: tuple("198.51.100.10", 5353, "192.0.2.10", 40001),
            originalCounters: FlowCounters(packets: 1, bytes: 68),
            replyCounters: FlowCounters(packets: 1, bytes: 148)),
        """
        dc000000 0001 0200 07000000 05000000                 ; nlmsghdr: 220 bytes, IPCTNL_MSG_CT_NEW, NLM_F_MULTI
        02000000                                             ; nfgenmsg: AF_INET
          3400 0180                                          ; CTA_TUPLE_ORIG
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c000020a                             ; CTA_IP_V4_SRC 192.0.2.10
              0800 0200 cb007135                             ; CTA_IP_V4_DST 203.0.113.53
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 11000000                             ; CTA_PROTO_NUM 17
              0600 0200 9c410000                             ; CTA_PROTO_SRC_PORT 40001
              0600 0300 00350000                             ; CTA_PROTO_DST_PORT 53
          3400 0280                                          ; CTA_TUPLE_REPLY
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c633640a                             ; CTA_IP_V4_SRC 198.51.100.10
              0800 0200 c000020a                             ; CTA_IP_V4_DST 192.0.2.10
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 11000000                             ; CTA_PROTO_NUM 17
              0600 0200 14e90000                             ; CTA_PROTO_SRC_PORT 5353
              0600 0300 9c410000                             ; CTA_PROTO_DST_PORT 40001
          0800 0300 000001aa                                 ; CTA_STATUS
          0800 0800 00000000                                 ; CTA_MARK
          0800 0c00 fcdb5fd8                                 ; CTA_ID
          0800 0b00 00000001                                 ; CTA_USE
          0800 0700 0000001d                                 ; CTA_TIMEOUT
          1c00 0980                                          ; CTA_COUNTERS_ORIG
            0c00 0100 0000000000000001                       ; CTA_COUNTERS_PACKETS 1
            0c00 0200 0000000000000044                       ; CTA_COUNTERS_BYTES 68
          1c00 0a80                                          ; CTA_COUNTERS_REPLY
            0c00 0100 0000000000000001                       ; CTA_COUNTERS_PACKETS 1
            0c00 0200 0000000000000094                       ; CTA_COUNTERS_BYTES 148
        """)

    /// A TCP connection over IPv6.
    static let tcpOverIPv6 = Capture(
        testDescription: "TCP over IPv6",
        flow: Flow(
            transport: .tcp,
            original: tuple("2001:db8::10", 40000, "2001:db8::20", 8080),
            reply: tuple("2001:db8::20", 8080, "2001:db8::10", 40000),
            originalCounters: FlowCounters(packets: 4, bytes: 796),
            replyCounters: FlowCounters(packets: 3, bytes: 1224)),
        """
        3c010000 0001 0200 07000000 05000000                 ; nlmsghdr: 316 bytes, IPCTNL_MSG_CT_NEW, NLM_F_MULTI
        0a000000                                             ; nfgenmsg: AF_INET6
          4c00 0180                                          ; CTA_TUPLE_ORIG
            2c00 0180                                        ; CTA_TUPLE_IP
              1400 0300 20010db8000000000000000000000010     ; CTA_IP_V6_SRC 2001:db8::10
              1400 0400 20010db8000000000000000000000020     ; CTA_IP_V6_DST 2001:db8::20
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 06000000                             ; CTA_PROTO_NUM 6
              0600 0200 9c400000                             ; CTA_PROTO_SRC_PORT 40000
              0600 0300 1f900000                             ; CTA_PROTO_DST_PORT 8080
          4c00 0280                                          ; CTA_TUPLE_REPLY
            2c00 0180                                        ; CTA_TUPLE_IP
              1400 0300 20010db8000000000000000000000020     ; CTA_IP_V6_SRC 2001:db8::20
              1400 0400 20010db8000000000000000000000010     ; CTA_IP_V6_DST 2001:db8::10
            1c00 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 06000000                             ; CTA_PROTO_NUM 6
              0600 0200 1f900000                             ; CTA_PROTO_SRC_PORT 8080
              0600 0300 9c400000                             ; CTA_PROTO_DST_PORT 40000
          0800 0300 0000000e                                 ; CTA_STATUS
          0800 0800 00000000                                 ; CTA_MARK
          0800 0c00 7e3a31f1                                 ; CTA_ID
          0800 0b00 00000001                                 ; CTA_USE
          0800 0700 0006977f                                 ; CTA_TIMEOUT
          3000 0480                                          ; CTA_PROTOINFO
            2c00 0180                                        ; CTA_PROTOINFO_TCP
              0500 0100 03000000                             ; CTA_PROTOINFO_TCP_STATE
              0500 0200 0a000000                             ; CTA_PROTOINFO_TCP_WSCALE_ORIGINAL
              0500 0300 0a000000                             ; CTA_PROTOINFO_TCP_WSCALE_REPLY
              0600 0400 23000000                             ; CTA_PROTOINFO_TCP_FLAGS_ORIGINAL
              0600 0500 23000000                             ; CTA_PROTOINFO_TCP_FLAGS_REPLY
          1c00 0980                                          ; CTA_COUNTERS_ORIG
            0c00 0100 0000000000000004                       ; CTA_COUNTERS_PACKETS 4
            0c00 0200 000000000000031c                       ; CTA_COUNTERS_BYTES 796
          1c00 0a80                                          ; CTA_COUNTERS_REPLY
            0c00 0100 0000000000000003                       ; CTA_COUNTERS_PACKETS 3
            0c00 0200 00000000000004c8                       ; CTA_COUNTERS_BYTES 1224
        """)

    /// An ICMP echo and its reply: a protocol without ports.
    static let icmpEcho = Capture(
        testDescription: "ICMP echo",
        flow: Flow(
            transport: TransportProtocol(rawValue: 1),
            original: tuple("192.0.2.10", 0, "198.51.100.10", 0),
            reply: tuple("198.51.100.10", 0, "192.0.2.10", 0),
            originalCounters: FlowCounters(packets: 1, bytes: 84),
            replyCounters: FlowCounters(packets: 1, bytes: 84)),
        """
        ec000000 0001 0200 07000000 05000000                 ; nlmsghdr: 236 bytes, IPCTNL_MSG_CT_NEW, NLM_F_MULTI
        02000000                                             ; nfgenmsg: AF_INET
          3c00 0180                                          ; CTA_TUPLE_ORIG
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c000020a                             ; CTA_IP_V4_SRC 192.0.2.10
              0800 0200 c633640a                             ; CTA_IP_V4_DST 198.51.100.10
            2400 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 01000000                             ; CTA_PROTO_NUM 1
              0600 0400 12340000                             ; CTA_PROTO_ICMP_ID
              0500 0500 08000000                             ; CTA_PROTO_ICMP_TYPE
              0500 0600 00000000                             ; CTA_PROTO_ICMP_CODE
          3c00 0280                                          ; CTA_TUPLE_REPLY
            1400 0180                                        ; CTA_TUPLE_IP
              0800 0100 c633640a                             ; CTA_IP_V4_SRC 198.51.100.10
              0800 0200 c000020a                             ; CTA_IP_V4_DST 192.0.2.10
            2400 0280                                        ; CTA_TUPLE_PROTO
              0500 0100 01000000                             ; CTA_PROTO_NUM 1
              0600 0400 12340000                             ; CTA_PROTO_ICMP_ID
              0500 0500 00000000                             ; CTA_PROTO_ICMP_TYPE
              0500 0600 00000000                             ; CTA_PROTO_ICMP_CODE
          0800 0300 0000018a                                 ; CTA_STATUS
          0800 0800 00000000                                 ; CTA_MARK
          0800 0c00 d400651e                                 ; CTA_ID
          0800 0b00 00000001                                 ; CTA_USE
          0800 0700 0000001d                                 ; CTA_TIMEOUT
          1c00 0980                                          ; CTA_COUNTERS_ORIG
            0c00 0100 0000000000000001                       ; CTA_COUNTERS_PACKETS 1
            0c00 0200 0000000000000054                       ; CTA_COUNTERS_BYTES 84
          1c00 0a80                                          ; CTA_COUNTERS_REPLY
            0c00 0100 0000000000000001                       ; CTA_COUNTERS_PACKETS 1
            0c00 0200 0000000000000054                       ; CTA_COUNTERS_BYTES 84
        """)

    /// Parses hexadecimal digits in network byte order; text after a semicolon is a comment.
    private init(testDescription: String, flow: Flow, _ annotated: String) {
        self.testDescription = testDescription
        self.flow = flow
        let digits = annotated.split(separator: "\n").flatMap { $0.prefix { $0 != ";" } }.compactMap(\.hexDigitValue)
        bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}

/// Parses an address literal of a test.
func address(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { preconditionFailure("'\(text)' is not an address") }
    return address
}

/// Creates a tuple from the literals of a test.
func tuple(_ source: String, _ sourcePort: UInt16, _ destination: String, _ destinationPort: UInt16) -> FlowTuple {
    FlowTuple(
        source: address(source), destination: address(destination), sourcePort: sourcePort,
        destinationPort: destinationPort)
}
