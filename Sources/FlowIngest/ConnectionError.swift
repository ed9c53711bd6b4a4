// SPDX-License-Identifier: Apache-2.0

import FlowWire

/// Why a connection is ended from this side.
enum ConnectionError: Error {
    /// The agent speaks a later protocol than this server.
    case unsupportedVersion(UInt32)
    /// The first message was not `Hello`, or a second `Hello` came.
    case unexpectedMessage(String)
    /// No `Hello` came in time.
    case noHello(seconds: Int64)
    /// `Hello` names no node: no flow could be told to be local or remote.
    case noNodeName

    /// A short name for counters: one of a fixed, small set.
    static func reason(of error: any Error) -> String {
        switch error {
        case let error as WireError: error.reason
        case ConnectionError.unsupportedVersion: "unsupported_version"
        case ConnectionError.unexpectedMessage: "unexpected_message"
        case ConnectionError.noHello: "no_hello"
        case ConnectionError.noNodeName: "no_node_name"
        default: "connection_lost"
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
        case .noHello(let seconds): "no Hello within \(seconds) s"
        case .noNodeName: "Hello.node_name is empty: set NODE_NAME for the agent"
        }
    }
}
