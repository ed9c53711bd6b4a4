// SPDX-License-Identifier: Apache-2.0

package import KubernetesAPI

/// What an ``APIServerFixture`` does to a request instead of what is right.
package enum FixtureFault: Sendable {
    /// It refuses it.
    case status(KubernetesStatus)
    /// It refuses a watch, or whatever it is, in an answer with the status 200: an ERROR event.
    case errorEvent(KubernetesStatus)
    /// It closes the connection after so many bytes of the body.
    case cut(afterBytes: Int)
    /// It neither reads nor sends any more after so many bytes of the body.
    case freeze(afterBytes: Int)
    /// It sends every byte on its own.
    case bytewise
    /// It answers with the status 200 and these bytes.
    case bytes([UInt8])
    /// It answers with the status 200 and ends the body.
    case nothing
    /// It never answers.
    case silence
    /// It goes on to answer a streaming list as a server that does not know of it: the objects come, the end does not.
    case ignoresInitialEvents
}
