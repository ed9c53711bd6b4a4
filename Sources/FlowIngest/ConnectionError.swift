// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import TransportSecurity

/// The reason why the server rejects or closes a connection.
enum ConnectionError: Error {
    /// The agent speaks a later protocol than this server.
    case unsupportedVersion(UInt32)
    /// The first message was not `Hello`, or a second `Hello` came.
    case unexpectedMessage(String)
    /// The TLS handshake did not complete in time.
    case noHandshake(TimeAmount)
    /// No `Hello` came in time.
    case noHello(TimeAmount)
    /// No complete message came for too long.
    case idle(TimeAmount)
    /// The agent was asked to reconnect and did not.
    case stayed(TimeAmount)
    /// `Hello` names no node, without which a flow's local end cannot be determined.
    case noNodeName
    /// The limit on all open connections is reached.
    case tooManyConnections(limit: Int)
    /// The limit on open connections from one source is reached.
    case tooManyFromSource(limit: Int)
    /// Unfinished frames take too much memory, and this connection's is the oldest.
    case unfinishedFrames
    /// More than `limit` messages came before the agent was admitted.
    case tooManyWaiting(limit: Int)
    /// Nothing was read for too long because batches could not be stored.
    case notRead(TimeAmount)
    /// The token by which the agent was admitted has expired.
    case expired
    /// The authenticator rejected the agent or could not decide.
    case notAdmitted(reason: String, explanation: String)

    /// Short names, for counters, of errors that are neither wire-protocol nor TLS errors.
    private enum Reason: String, CaseIterable {
        case unsupportedVersion = "unsupported_version"
        case unexpectedMessage = "unexpected_message"
        case noHello = "no_hello"
        case idle
        case stayed
        case noNodeName = "no_node_name"
        case tooManyConnections = "too_many_connections"
        case tooManyFromSource = "too_many_from_source"
        case unfinishedFrames = "unfinished_frames"
        case tooManyWaiting = "too_many_waiting"
        case notRead = "not_read"
        case expired = "token_expired"
        case connectionLost = "connection_lost"
    }

    /// All values of ``reason(of:)``, except those of authenticators. `otherName` is missing because the names in
    /// agents' certificates are not checked.
    static let reasons =
        WireError.reasons + TLSFailure.allCases.filter { $0 != .otherName }.map(\.rawValue)
        + Reason.allCases.map(\.rawValue)

    /// Returns a short name for counters, one of a small, fixed set.
    static func reason(of error: any Error) -> String {
        if let error = error as? WireError { return error.reason }
        guard let error = error as? ConnectionError else {
            return TLSFailure(error)?.rawValue ?? Reason.connectionLost.rawValue
        }
        return switch error {
        case .unsupportedVersion: Reason.unsupportedVersion.rawValue
        case .unexpectedMessage: Reason.unexpectedMessage.rawValue
        case .noHandshake: TLSFailure.timeout.rawValue
        case .noHello: Reason.noHello.rawValue
        case .idle: Reason.idle.rawValue
        case .stayed: Reason.stayed.rawValue
        case .noNodeName: Reason.noNodeName.rawValue
        case .tooManyConnections: Reason.tooManyConnections.rawValue
        case .tooManyFromSource: Reason.tooManyFromSource.rawValue
        case .unfinishedFrames: Reason.unfinishedFrames.rawValue
        case .tooManyWaiting: Reason.tooManyWaiting.rawValue
        case .notRead: Reason.notRead.rawValue
        case .expired: Reason.expired.rawValue
        case .notAdmitted(let reason, _): reason
        }
    }
}

extension ConnectionError: CustomStringConvertible {
    var description: String {
        switch self {
        case .unsupportedVersion(let version):
            """
            the agent uses protocol version \(version), but this server supports only versions up to \
            \(Hello.currentProtocolVersion): upgrade the servers before the agents
            """
        case .unexpectedMessage(let problem): problem
        case .noHandshake(let limit): "the TLS handshake was not complete within \(limit.seconds) s"
        case .noHello(let limit): "no Hello within \(limit.seconds) s"
        case .idle(let limit): "no complete message within \(limit.seconds) s"
        case .stayed(let limit): "the agent was asked to reconnect and did not within \(limit.seconds) s"
        case .noNodeName: "Hello.node_name is empty: set NODE_NAME for the agent"
        case .tooManyConnections(let limit): "the limit of \(limit) open connections is reached"
        case .tooManyFromSource(let limit):
            "the limit of \(limit) open connections from this address or its /64 is reached"
        case .unfinishedFrames:
            "incomplete frames of this source, or of all sources, exceed their memory limit, and this one is the oldest"
        case .tooManyWaiting(let limit): "more than \(limit) messages arrived before the agent was admitted"
        case .notRead(let limit): "reading was paused for \(limit.seconds) s because ClickHouse stores no batches"
        case .expired: "the agent's token has expired, and the agent did not reconnect with a new one"
        case .notAdmitted(_, let explanation): explanation
        }
    }
}

extension TimeAmount {
    /// Whole seconds, for logs.
    fileprivate var seconds: Int64 { nanoseconds / 1_000_000_000 }
}
