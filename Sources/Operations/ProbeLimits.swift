// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// How much of the process the peers of the probe port may take.
///
/// All connections together hold at most about 64 x (8 KiB + 128 KiB) in the kernel, which doubles what it is asked for, and
/// in the process a page of metrics that they share.
struct ProbeLimits: Sendable {
    /// Connections at the same time. A kubelet and two Prometheus servers have fewer than ten.
    var connections = 64
    /// Requests of one connection, the last of which is answered with `Connection: close`.
    var requestsPerConnection = 100
    /// Time for a request to arrive in full, from the connection's beginning or the end of the answer before. Time without
    /// any request counts as well.
    var requestDeadline = TimeAmount.seconds(10)
    /// Time for the peer to take an answer in full.
    var answerDeadline = TimeAmount.seconds(10)
    /// Names and values of a request's header fields together, and of each, in bytes.
    var headerBytes = 8 << 10
    /// Header fields of a request.
    var headerFields = 64
    /// Bytes that are read, and decoded, at a time. A request of Prometheus has about 300.
    var bytesPerRead = 1 << 10
    /// Size that the kernel is asked for to receive into.
    var receiveBufferBytes: Int = 4 << 10
    /// Size that the kernel is asked for to send from.
    var sendBufferBytes: Int = 64 << 10
    /// Time for which a page that costs something is answered with again.
    var pageLifetime = TimeAmount.seconds(1)
}
