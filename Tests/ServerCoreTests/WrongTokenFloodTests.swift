// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import KubernetesAPI
import KubernetesTestKit
import Logging
import NIOCore
import NIOPosix
import Secrets
import TestSupport
import Testing

@testable import FlowIngest
import ServerCore

/// Real connections with wrong tokens from one or many addresses beside an agent from another address, reviewed by the
/// API server's fixture.
@Suite struct WrongTokenFloodTests {
    private final class Sink: FlowSink {
        func receive(_ batch: borrowing ReceivedFlowBatch, from agent: ConnectedAgent, receipt: BatchReceipt) {
            BatchReceipt.acknowledge([receipt])
        }

        func withdraw(_ batches: Set<BatchIdentity>) -> Set<BatchIdentity> { [] }

        func agent(_ agent: ConnectedAgent, hasAddresses addresses: [IPAddress]) {}
    }

    private func connect(
        _ address: SocketAddress, from source: String, node: String, token: String,
        on group: MultiThreadedEventLoopGroup
    ) async throws -> any Channel {
        let channel = try await ClientBootstrap(group: group)
            .bind(to: SocketAddress(ipAddress: source, port: 0))
            .connect(to: address).get()
        let hello = Hello(nodeName: node, agentID: .random(), softwareVersion: "test", token: BearerToken(token))
        try? await channel.writeAndFlush(hello.frame())
        return channel
    }

    @Test(
        "a flood of wrong tokens costs ten reviews a second per source and delays no other agent",
        .timeLimit(.minutes(5)), arguments: [1, 50])
    func flood(sources: Int) async throws {
        var options = APIServerFixture.Options()
        options.accounts["good"] = FixtureAccount(
            username: "system:serviceaccount:kubenetmon-agent:kubenetmon-agent", audiences: ["kubenetmon-server"],
            podName: "agent", nodeName: "node-a")
        let apiServer = try await APIServerFixture.start(options)
        var configuration = IngestServer.Configuration()
        configuration.limits.helloDeadline = .hours(1)
        configuration.authenticator = ServiceAccountAuthenticator(
            TokenReviewer(
                cluster: ClusterConfiguration(origin: "test", server: apiServer.url), audience: "kubenetmon-server"),
            accounts: ["kubenetmon-agent/kubenetmon-agent"], audience: "kubenetmon-server")
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let server = try await IngestServer(
            group: group, configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { _ in Sink() }
        let address = try await server.listen(on: IPAddress("127.0.0.1"), port: 0)

        let begin = ContinuousClock.now
        let flood = Task {
            await withTaskGroup(of: Int.self) { tasks in
                for flooder in 0..<50 {
                    tasks.addTask {
                        var count = 0
                        while !Task.isCancelled {
                            count += 1
                            let token = "wrong \(flooder) \(count)"
                            let channel = try? await connect(
                                address, from: "127.0.1.\(flooder % sources)", node: "node-b", token: token, on: group)
                            // Each connection stays open until the server closes it.
                            try? await channel?.closeFuture.get()
                        }
                        return count
                    }
                }
                return await tasks.reduce(0, +)
            }
        }
        try await eventually("the flood has begun") { apiServer.count(.tokenReview) >= 5 }
        let before = apiServer.count(.tokenReview)
        let agent = try await connect(address, from: "127.0.0.3", node: "node-a", token: "good", on: group)
        try await eventually("the agent is admitted") { server.statistics.connectedAgents == 1 }
        let reviewsInBetween = apiServer.count(.tokenReview) - before
        try await eventually("the flood continues") { apiServer.count(.tokenReview) >= 30 }
        let reviews = apiServer.count(.tokenReview)
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        flood.cancel()
        let connections = await flood.value
        print("MEASURED \(connections) connections, \(reviews) reviews in \(seconds) s, \(reviewsInBetween) before it")
        // As many as five seconds have: a busy machine takes longer for them.
        #expect(reviewsInBetween <= 5 * (sources == 1 ? 10 : 50))
        // The agent's own review is one more.
        #expect(Double(reviews) <= seconds * (sources == 1 ? 10 : 50) + 2)
        #expect(connections >= reviews - 1)
        #expect(server.statistics.connectedAgents == 1)
        let errors = server.statistics.errors
        #expect(Set(errors.keys).isSubset(of: ["token_denied", "review_queue_full", "too_many_from_source"]))
        #expect(errors["token_denied", default: 0] >= 25)
        if sources == 1 { #expect(errors["review_queue_full", default: 0] > 0) }
        try await agent.close()
        await server.closeConnections()
    }
}
