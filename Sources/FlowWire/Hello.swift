// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// How an agent introduces itself; the first message of every connection.
public struct Hello: Equatable, Sendable {
    /// The largest message that an introduction may be, in bytes. A token of a service account takes one or two thousand.
    public static let maximumLength = 16 << 10

    /// The protocol version that this build speaks.
    public static let currentProtocolVersion: UInt32 = 1

    /// The most addresses of its host that an agent may tell, here and later.
    public static let maximumHostAddresses = 256

    /// The version that the agent speaks.
    public var protocolVersion: UInt32
    /// The Kubernetes node that the agent watches.
    public var nodeName: String
    /// The agent process.
    public var agentID: AgentID
    /// The agent's release, for logs.
    public var softwareVersion: String
    /// What proves that the agent may send; nil for nothing.
    public var token: BearerToken?
    /// The addresses of the agent's host, at most ``maximumHostAddresses``; nil where the agent does not tell them. On the
    /// wire, IPv4 addresses come first.
    public var hostAddresses: [IPAddress]?

    /// Makes a greeting of its parts.
    public init(
        protocolVersion: UInt32 = Hello.currentProtocolVersion, nodeName: String, agentID: AgentID,
        softwareVersion: String, token: BearerToken? = nil,
        hostAddresses: [IPAddress]? = nil
    ) {
        self.protocolVersion = protocolVersion
        self.nodeName = nodeName
        self.agentID = agentID
        self.softwareVersion = softwareVersion
        self.token = token
        self.hostAddresses = hostAddresses
    }
}
