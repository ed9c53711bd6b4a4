// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import Secrets
import TestSupport

@testable import FlowIngest

/// An authenticator that is never asked.
struct NoAuthenticator: AgentAuthenticator {
    func examine(_ claim: AgentClaim) async -> AgentVerdict { .admitted() }
}

extension AgentConnectionStateMachine {
    /// Makes a machine whose channel is connected.
    static func connected(
        examinesAgents: Bool = true, maximumAge: TimeAmount? = nil, seed: UInt64 = 0, isEncrypted: Bool = false
    ) -> Self {
        var configuration = IngestServer.Configuration()
        configuration.limits.handshakeDeadline = .seconds(3)
        configuration.limits.helloDeadline = .seconds(7)
        configuration.limits.batchesInFlight = 2
        configuration.maximumConnectionAge = maximumAge
        if examinesAgents { configuration.authenticator = NoAuthenticator() }
        var generator = SeededGenerator(seed: seed)
        var machine = Self(configuration, isEncrypted: isEncrypted, using: &generator)
        _ = machine.connected(at: .second(0))
        return machine
    }
}

extension AgentConnectionStateMachine.Conditions {
    /// The gate is open, and the peer drains its acknowledgements.
    static let open = Self(isGateOpen: true, isWritable: true)
    /// Batches cannot be stored.
    static let shut = Self(isGateOpen: false, isWritable: true)
    /// The peer drains nothing.
    static let full = Self(isGateOpen: true, isWritable: false)
}

extension AgentConnectionStateMachine.State {
    var name: String {
        switch self {
        case .handshake: "handshake"
        case .awaitingHello(let awaitsReading): awaitsReading ? "awaiting reading" : "awaiting Hello"
        case .examining: "examining"
        case .admitted: "admitted"
        case .closing: "closing"
        case .closed: "closed"
        }
    }
}

extension AgentConnectionStateMachine.Action {
    /// The actions in short, each in a line.
    var outline: [String] {
        switch self {
        case .nothing: []
        case .all(let actions): actions.flatMap(\.outline)
        case .decode(let frame): ["decode \(frame.readableBytes)"]
        case .decodeWaitingFrames: ["decode waiting frames"]
        case .read: ["read"]
        case .write(.ack([], _)): ["write heartbeat"]
        case .write(.goAway(_, _, isRefusal: true)): ["write refusal"]
        case .write(.goAway(_, supportedProtocolVersion: 0, _)): ["write goAway"]
        case .write(.goAway(_, let version, _)): ["write goAway version \(version)"]
        case .write(let message): ["write \(message)"]
        case .schedule(let timer, let delay): ["start \(timer) \(delay.nanoseconds / 1_000_000_000)"]
        case .cancel(let timer): ["cancel \(timer)"]
        case .examine(let hello): ["examine \(hello.nodeName)"]
        case .admit(let agent): ["admit \(agent.hello.nodeName)"]
        case .updateAddresses(let addresses, of: _): ["update addresses \(addresses.count)"]
        case .confirm(let confirmation, of: _): ["confirm \(confirmation.sequences)"]
        case .settle(let doubts, of: _): ["settle \(doubts.count)"]
        case .countAged: ["count aged"]
        case .fail(let error, .agent(let agent)):
            ["fail \(ConnectionError.reason(of: error)) of \(agent.hello.nodeName)"]
        case .fail(let error, .unadmitted(let nodeName)):
            ["fail \(ConnectionError.reason(of: error))" + (nodeName.map { " of unadmitted \($0)" } ?? "")]
        case .close: ["close"]
        case .withdraw(let sequences, let agent): ["withdraw \(sequences.sorted()) of \(agent.hello.nodeName)"]
        case .end(let agent): [agent.map { "end \($0.hello.nodeName)" } ?? "end"]
        }
    }

    /// The number in the frame to decode.
    var decodedNumbers: [Int] {
        guard case .decode(let frame) = self else { return [] }
        return frame.getInteger(at: frame.readerIndex, as: Int.self).map { [$0] } ?? []
    }

    /// The delay of a timer that is started.
    func delay(of timer: AgentConnectionStateMachine.Timer) -> TimeAmount? {
        switch self {
        case .all(let actions): actions.lazy.compactMap { $0.delay(of: timer) }.first
        case .schedule(timer, let delay): delay
        default: nil
        }
    }
}

extension AgentConnectionStateMachine.BatchAction {
    var outline: [String] {
        switch self {
        case .take(let agent): ["take from \(agent.hello.nodeName)"]
        case .drop(let action): action.outline
        }
    }
}

extension NIODeadline {
    static func second(_ second: Int64) -> NIODeadline {
        .uptimeNanoseconds(1_000_000_000_000) + .seconds(second)
    }
}

extension ByteBuffer {
    /// Returns a frame that holds a number.
    static func numbered(_ number: Int) -> ByteBuffer { ByteBuffer(integer: number) }
}

extension IPAddress {
    static let one = IPAddress(v4: 0x0a00_0001)
}

extension Hello {
    static func test(
        node: String = "node-a", version: UInt32 = 1, token: String? = nil, hostAddresses: [IPAddress]? = nil
    ) -> Hello {
        Hello(
            protocolVersion: version, nodeName: node, agentID: AgentID(bits: 1), softwareVersion: "test",
            token: token.map { BearerToken($0) }, hostAddresses: hostAddresses)
    }
}
