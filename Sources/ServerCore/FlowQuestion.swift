// SPDX-License-Identifier: Apache-2.0

package import FlowModel
import FoundationEssentials
import Labeling
import Probes

/// A question about how a flow is labelled, given as the query of a URL,
/// `src=10.0.0.1:40000&dst=10.96.0.80:80&node=node-a`.
package struct FlowQuestion: Equatable {
    package var flow: Flow
    package var node: String
    /// The assumed time of observation, in seconds since the Unix epoch; nil for now.
    package var second: UInt32?

    /// An error in the query.
    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    package init(query: String) throws(Problem) {
        var parameters: [String: String] = [:]
        // Items are parsed one by one, because a character that is not allowed in a URL leaves the percent-encoding of
        // the whole text undecoded.
        for item in query.split(separator: "&").flatMap({ URLComponents(string: "?\($0)")?.queryItems ?? [] }) {
            parameters[item.name] = item.value ?? ""
        }
        let known = ["src", "dst", "answered_by", "replies_to", "node", "proto", "at"]
        if let unknown = parameters.keys.first(where: { !known.contains($0) }) {
            throw Problem(description: "unknown parameter '\(unknown)'; known are \(known.joined(separator: ", "))")
        }
        let source = try Self.endpoint("src", parameters)
        let destination = try Self.endpoint("dst", parameters)
        let peer = try parameters["answered_by"] == nil ? destination : Self.endpoint("answered_by", parameters)
        let client = try parameters["replies_to"] == nil ? source : Self.endpoint("replies_to", parameters)
        guard let node = parameters["node"], !node.isEmpty else { throw Problem(description: "node is missing") }
        let proto = parameters["proto"] ?? "\(TransportProtocol.tcp)"
        guard let transport = TransportProtocol(proto) else {
            throw Problem(
                description: """
                    proto '\(proto)' is not a number from 0 to 255 or one of \
                    \(TransportProtocol.byName.keys.sorted().joined(separator: ", "))
                    """)
        }
        if let at = parameters["at"] {
            guard let second = UInt32(at) else {
                throw Problem(description: "at '\(at)' is not a number of seconds since 1970")
            }
            self.second = second
        }
        self.node = node
        flow = Flow(
            transport: transport,
            original: FlowTuple(
                source: source.address, destination: destination.address, sourcePort: source.port,
                destinationPort: destination.port),
            reply: FlowTuple(
                source: peer.address, destination: client.address, sourcePort: peer.port,
                destinationPort: client.port), originalCounters: FlowCounters(), replyCounters: FlowCounters())
    }

    /// Reads `10.0.0.1:80` or `[fd00::1]:80`.
    private static func endpoint(
        _ name: String, _ parameters: [String: String]
    ) throws(Problem) -> (address: IPAddress, port: UInt16) {
        guard let text = parameters[name], !text.isEmpty else { throw Problem(description: "\(name) is missing") }
        let form = "such as 10.0.0.1:443 or [fd00::1]:443"
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            throw Problem(description: "\(name) '\(text)' is not an address and port, \(form)")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard let address = IPAddress(host) else {
            throw Problem(description: "\(name) '\(text)' is not an address and port, \(form)")
        }
        return (address, port)
    }
}

extension Labeler {
    /// Returns the answer to a ``FlowQuestion`` as text.
    func answer(query: String) -> ProbeServer.LocalAnswer {
        do throws(FlowQuestion.Problem) {
            let question = try FlowQuestion(query: query)
            let second = question.second ?? WallClock.seconds()
            return .text("\(explain(question.flow, observedOn: question.node, at: second))")
        } catch {
            return .badQuery("\(error)")
        }
    }
}
