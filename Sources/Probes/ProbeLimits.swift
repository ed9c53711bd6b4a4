// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Limits on the resources that the probe port's peers can use.
///
/// All connections together hold at most about 64 x (8 KiB + 128 KiB) in the kernel, which doubles the requested sizes,
/// and share one page of metrics in the process.
struct ProbeLimits: Sendable {
    /// Maximum number of open connections. A kubelet and two Prometheus servers have fewer than ten.
    var connections = 64
    /// Maximum number of requests on one connection; the response to the last has `Connection: close`.
    var requestsPerConnection = 100
    /// Time in which a request must have arrived in full, from the start of the connection or the end of the previous
    /// response. Idle time counts as well.
    var requestDeadline = TimeAmount.seconds(10)
    /// Time in which the peer must have taken a response in full.
    var answerDeadline = TimeAmount.seconds(10)
    /// Maximum size in bytes of one header field, and of all header fields of a request together.
    var headerBytes = 8 << 10
    /// Maximum number of header fields of a request.
    var headerFields = 64
    /// Maximum number of bytes that are read, and decoded, at a time. A request of Prometheus has about 300.
    var bytesPerRead = 1 << 10
    /// The requested size of the kernel's receive buffer, in bytes.
    var receiveBufferBytes: Int = 4 << 10
    /// The requested size of the kernel's send buffer, in bytes.
    var sendBufferBytes: Int = 64 << 10
    /// Time for which a page that is expensive to make is served again.
    var pageLifetime = TimeAmount.seconds(1)
}
