// SPDX-License-Identifier: Apache-2.0

public import FlowModel
public import Secrets

/// The first message of every connection, in which an agent identifies itself.
public struct Hello: Equatable, Sendable {
    /// The maximum length of a `Hello`, in bytes. The token of a service account takes one or two thousand.
    public static let maximumLength = 16 << 10

    /// The protocol version that this build speaks.
    public static let currentProtocolVersion: UInt32 = 1

    /// The most addresses of its host that an agent may send, in a `Hello` or later.
    public static let maximumHostAddresses = 256

    /// The protocol version that the agent speaks.
    public var protocolVersion: UInt32
    /// The Kubernetes node that the agent watches.
    public var nodeName: String
    /// The id of the agent process.
    public var agentID: AgentID
    /// The agent's release, for logs.
    public var softwareVersion: String
    /// The agent's bearer token; nil for none.
    public var token: BearerToken?
    /// The addresses of the agent's host, at most ``maximumHostAddresses``; nil if the agent does not send them. On the
    /// wire, IPv4 addresses come first.
    public var hostAddresses: [IPAddress]?
    /// Whether the agent confirms ``Held``.
    public var confirmsHeld: Bool

    /// Makes a `Hello` from its parts.
    public init(
        protocolVersion: UInt32 = Hello.currentProtocolVersion, nodeName: String, agentID: AgentID,
        softwareVersion: String, token: BearerToken? = nil,
        hostAddresses: [IPAddress]? = nil, confirmsHeld: Bool = false
    ) {
        self.protocolVersion = protocolVersion
        self.nodeName = nodeName
        self.agentID = agentID
        self.softwareVersion = softwareVersion
        self.token = token
        self.hostAddresses = hostAddresses
        self.confirmsHeld = confirmsHeld
    }
}
