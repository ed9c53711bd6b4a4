// SPDX-License-Identifier: Apache-2.0

package import KubernetesAPI

/// A fault that an ``APIServerFixture`` injects into the response to a request.
package enum FixtureFault: Sendable {
    /// The request is rejected with a status.
    case status(KubernetesStatus)
    /// The request is rejected by an ERROR event in a response with status 200.
    case errorEvent(KubernetesStatus)
    /// The connection is closed after this many bytes of the body.
    case cut(afterBytes: Int)
    /// Reading and sending stop after this many bytes of the body.
    case freeze(afterBytes: Int)
    /// Every byte is sent separately.
    case bytewise
    /// The response has status 200 and these bytes.
    case bytes([UInt8])
    /// The response has status 200 and an empty body.
    case nothing
    /// There is no response.
    case silence
    /// A streaming list is handled as by a server without support for it: the objects come, the end does not.
    case ignoresInitialEvents
}
