// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FlowModel
import FoundationEssentials
import HTTPClient

/// Asks the server that runs on this host how it labels a flow.
package struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Explain how the running server labels a flow, and which rules and ranges decide.",
        discussion: """
            Run it where the server runs: kubectl exec deploy/kubenetmon-server -- kubenetmon-server explain \
            --src 10.0.0.1:40000 --dst 10.96.0.80:80 --node node-a
            """)

    @Option(help: "Source of the connection: an address and port, such as 10.0.0.1:40000 or [fd00::1]:40000.")
    var src: String
    @Option(help: "Destination that the source dialled: an address and port.")
    var dst: String
    @Option(help: "Backend that answers for a service's address: an address and port.")
    var answeredBy: String?
    @Option(help: "Address and port that replies go to, if the node translates the source.")
    var repliesTo: String?
    @Option(help: "Node that observes the flow.")
    var node: String
    @Option(
        help: """
            Protocol, by name or number: \(TransportProtocol.byName.keys.sorted().joined(separator: ", ")), or 0 to 255.
            """)
    var proto = "\(TransportProtocol.tcp)"
    @Option(help: "Time of the observation, in seconds since 1970; now if omitted.")
    var at: UInt32?
    @Option(help: "Metrics port of the server on this host.")
    var metricsPort = 8883

    /// The question as the query of a URL, which ``FlowQuestion`` reads.
    package var query: String {
        var components = URLComponents()
        components.queryItems = [
            URLQueryItem(name: "src", value: src), URLQueryItem(name: "dst", value: dst),
            URLQueryItem(name: "node", value: node), URLQueryItem(name: "proto", value: proto),
        ]
        if let answeredBy { components.queryItems?.append(URLQueryItem(name: "answered_by", value: answeredBy)) }
        if let repliesTo { components.queryItems?.append(URLQueryItem(name: "replies_to", value: repliesTo)) }
        if let at { components.queryItems?.append(URLQueryItem(name: "at", value: "\(at)")) }
        return components.percentEncodedQuery ?? ""
    }

    func run() throws {
        let url = "http://127.0.0.1:\(metricsPort)/explain?\(query)"
        let response: HTTPResponse
        do {
            response = try HTTPClient().perform(
                HTTPRequest(.get, url: url, timeoutMilliseconds: 10_000, connectTimeoutMilliseconds: 5_000))
        } catch {
            throw ValidationError("the server on this host does not answer on port \(metricsPort): \(error)")
        }
        guard response.status == 200 else {
            throw ValidationError(response.text.split(separator: "\n").joined(separator: "\n"))
        }
        print(response.text, terminator: "")
    }
}
