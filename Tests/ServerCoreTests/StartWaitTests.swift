// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Foundation
import KubernetesAPI
import KubernetesTestKit
import Labeling
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

import ServerCore

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
private let site = Site(environment: "test", cloud: "aws", region: "eu-central-1", cluster: "main")

/// A service that waits like the server before it listens for agents.
private final class WaitingService: Service {
    private let wait: @Sendable () async -> Void
    private let ended = Atomic(false)

    init(_ wait: @escaping @Sendable () async -> Void) { self.wait = wait }

    var hasEnded: Bool { ended.load(ordering: .acquiring) }

    func run() async throws {
        await wait()
        ended.store(true, ordering: .releasing)
        try? await gracefulShutdown()
    }
}

/// The waits for the first lists. Each ends with an event: no test reaches their time limit.
@Suite struct StartWaitTests {
    private func run(_ services: [any Service], _ body: () async throws -> Void) async throws {
        let group = ServiceGroup(services: services, logger: quiet)
        async let running: Void = group.run()
        try await body()
        await group.triggerGracefulShutdown()
        try await running
    }

    private func watch(_ server: APIServerFixture) -> ClusterWatch {
        ClusterWatch(
            KubernetesSettings(isEnabled: true, watchesReplicaSets: true),
            cluster: ClusterConfiguration(origin: "test", server: server.url), podLabels: PodLabelMapping(),
            index: ClusterIndex(site: site), logger: quiet)
    }

    @Test("the wait for the cluster ends with the last required list")
    func cluster() async throws {
        let server = try await APIServerFixture.start()
        // ReplicaSets are not required, and pods are listed only after them or their failure.
        let forbidden = KubernetesStatus(code: 403, reason: "Forbidden", message: "replicasets is forbidden")
        server.inject(.status(forbidden), into: [.streamingList, .list], of: "replicasets", times: 1_000)
        server.inject(.silence, into: [.streamingList, .list], of: "pods")
        let watch = watch(server)
        let waiting = WaitingService { await watch.waitUntilSynced() }
        try await run([watch, waiting]) {
            try await eventually("the server has the request for pods") {
                server.requests.contains { $0.resource == "pods" }
            }
            #expect(!waiting.hasEnded && watch.readiness.problem?.hasPrefix("pods not listed yet") == true)
            await server.closeConnections()
            try await eventually("the wait has ended") { waiting.hasEnded }
            #expect(watch.readiness.problem == nil)
        }
    }

    @Test("a shutdown ends the wait for the cluster", .timeLimit(.minutes(5)))
    func clusterShutdown() async throws {
        let server = try await APIServerFixture.start()
        server.inject(.silence, into: [.streamingList, .list], times: 1_000)
        let watch = watch(server)
        let waiting = WaitingService { await watch.waitUntilSynced() }
        try await run([watch, waiting]) {
            try await eventually("both the watch and the server wait") { watch.changes.waiters == 2 }
        }
        #expect(waiting.hasEnded && watch.changes.waiters == 0)
    }

    @Test("a region that is in no list of its cloud is named once", arguments: ["eu-central-1", "nowhere"])
    func unknownRegion(region: String) async throws {
        let list = """
            {"prefixes": [{"ip_prefix": "3.5.140.0/22", "region": "eu-central-1", "service": "AMAZON", \
            "network_border_group": "x"}], "ipv6_prefixes": []}
            """
        let server = try RawHTTPServer { _, _ in .status(200, list) }
        let lines = Lines()
        let site = Site(environment: "test", cloud: "aws", region: region, cluster: "main")
        let ranges = CloudRangeService(
            CloudRangeCatalog.Configuration(sources: [.aws: .url(server.url)]),
            labeler: Labeler(index: ClusterIndex(site: site), configuration: Labeler.Configuration()), site: site,
            logger: Logger(label: "test") { _ in Lines.Handler(lines: lines) })
        try await run([ranges]) { await ranges.waitUntilTried(atMost: .seconds(36_000)) }
        #expect(ranges.catalog.statistics.hasTriedAll)
        #expect(lines.all.withLock { $0 }.count { $0.contains("INTER_REGION") } == (region == "nowhere" ? 1 : 0))
    }

    /// Keeps the messages of warnings.
    private final class Lines: Sendable {
        let all = Mutex<[String]>([])

        struct Handler: LogHandler {
            let lines: Lines
            var metadata: Logger.Metadata = [:]
            var logLevel = Logger.Level.warning

            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }

            func log(event: LogEvent) { lines.all.withLock { $0.append(event.message.description) } }
        }
    }

    /// Makes a service of the lists of AWS and Google.
    private func ranges(_ url: String) -> CloudRangeService {
        CloudRangeService(
            CloudRangeCatalog.Configuration(sources: [.aws: .url(url + "/aws"), .google: .url(url + "/google")]),
            labeler: Labeler(index: ClusterIndex(site: site), configuration: Labeler.Configuration()), site: site,
            logger: quiet)
    }

    @Test("the wait for address lists ends with the first attempt at the last one")
    func addressLists() async throws {
        let gate = DispatchSemaphore(value: 0)
        let server = try RawHTTPServer { request, _ in
            if request.target == "/google" { gate.wait() }
            return .status(404)
        }
        let ranges = ranges(server.url)
        let waiting = WaitingService { await ranges.waitUntilTried(atMost: .seconds(36_000)) }
        try await run([ranges, waiting]) {
            try await eventually("the second list is requested") { server.requests.count == 2 }
            #expect(!waiting.hasEnded && !ranges.catalog.statistics.hasTriedAll)
            gate.signal()
            try await eventually("the wait has ended") { waiting.hasEnded }
            #expect(ranges.catalog.statistics.hasTriedAll)
        }
    }

    @Test("the wait for address lists has a time limit")
    func limit() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let ranges = ranges(server.url)
        try await run([ranges]) { await ranges.waitUntilTried(atMost: .milliseconds(10)) }
        #expect(!ranges.catalog.statistics.hasTriedAll)
    }

    @Test("a shutdown ends the wait for address lists", .timeLimit(.minutes(5)))
    func addressListsShutdown() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let ranges = ranges(server.url)
        let waiting = WaitingService { await ranges.waitUntilTried(atMost: .seconds(36_000)) }
        try await run([ranges, waiting]) {
            try await eventually("a list is requested") { server.requests.count == 1 }
        }
        #expect(waiting.hasEnded && !ranges.catalog.statistics.hasTriedAll)
    }
}
