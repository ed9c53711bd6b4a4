// SPDX-License-Identifier: Apache-2.0

import FlowWire
import NIOCore
import TransportSecurity

/// Why a connection is ended from this side.
enum ConnectionError: Error {
    /// The agent speaks a later protocol than this server.
    case unsupportedVersion(UInt32)
    /// The first message was not `Hello`, or a second `Hello` came.
    case unexpectedMessage(String)
    /// The TLS handshake was not over in time.
    case noHandshake(TimeAmount)
    /// No `Hello` came in time.
    case noHello(TimeAmount)
    /// No whole message came for too long.
    case idle(TimeAmount)
    /// The agent was asked to go and has not.
    case stayed(TimeAmount)
    /// `Hello` names no node: no flow could be told to be local or remote.
    case noNodeName
    /// So many connections are open already.
    case tooManyConnections(limit: Int)
    /// So many connections of the same source are open already.
    case tooManyFromSource(limit: Int)
    /// Frames that are not complete take too much memory, and this connection's was begun first.
    case unfinishedFrames
    /// So many messages came before the agent was let in.
    case tooManyWaiting(limit: Int)
    /// Nothing was read for too long because batches could not be stored.
    case notRead(TimeAmount)
    /// The authenticator does not let the agent in, or not now.
    case notAdmitted(reason: String, explanation: String)

    /// A short name for counters: one of a fixed, small set.
    static func reason(of error: any Error) -> String {
        switch error {
        case let error as WireError: error.reason
        case ConnectionError.unsupportedVersion: "unsupported_version"
        case ConnectionError.unexpectedMessage: "unexpected_message"
        case ConnectionError.noHandshake: TLSFailure.timeout.rawValue
        case ConnectionError.noHello: "no_hello"
        case ConnectionError.idle: "idle"
        case ConnectionError.stayed: "stayed"
        case ConnectionError.noNodeName: "no_node_name"
        case ConnectionError.tooManyConnections: "too_many_connections"
        case ConnectionError.tooManyFromSource: "too_many_from_source"
        case ConnectionError.unfinishedFrames: "unfinished_frames"
        case ConnectionError.tooManyWaiting: "too_many_waiting"
        case ConnectionError.notRead: "not_read"
        case ConnectionError.notAdmitted(let reason, _): reason
        default: TLSFailure(error)?.rawValue ?? "connection_lost"
        }
    }
}

extension ConnectionError: CustomStringConvertible {
    var description: String {
        switch self {
        case .unsupportedVersion(let version):
            """
            the agent speaks protocol version \(version), this server up to \(Hello.currentProtocolVersion): upgrade the \
            servers before the agents
            """
        case .unexpectedMessage(let problem): problem
        case .noHandshake(let limit): "the TLS handshake was not over within \(limit.seconds) s"
        case .noHello(let limit): "no Hello within \(limit.seconds) s"
        case .idle(let limit): "no whole message within \(limit.seconds) s"
        case .stayed(let limit): "the agent was asked to connect anew and has not within \(limit.seconds) s"
        case .noNodeName: "Hello.node_name is empty: set NODE_NAME for the agent"
        case .tooManyConnections(let limit): "\(limit) connections are open already, the limit of all"
        case .tooManyFromSource(let limit): "\(limit) connections from this address are open already, its limit"
        case .unfinishedFrames:
            "unfinished frames from this address or from all take too much memory, and this one was begun first"
        case .tooManyWaiting(let limit): "more than \(limit) messages came before the agent was let in"
        case .notRead(let limit): "nothing could be read for \(limit.seconds) s: ClickHouse stores no batches"
        case .notAdmitted(_, let explanation): explanation
        }
    }
}

extension TimeAmount {
    /// Whole seconds, for logs.
    fileprivate var seconds: Int64 { nanoseconds / 1_000_000_000 }
}
