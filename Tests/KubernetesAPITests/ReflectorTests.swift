// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import KubernetesAPI
import KubernetesTestKit
import TestSupport
import Testing

@testable import Retry

private func pod(_ name: String, terminated: Bool = false, app: String = "") -> Pod {
    Pod(
        namespace: "shop", name: name, node: "node-a", addresses: [], isTerminated: terminated,
        columnLabels: app.isEmpty ? [:] : [.app: app])
}

private func key(_ name: String) -> String { "shop/\(name)" }

/// Starts a server with the pods a and b.
private func server(_ configure: (inout APIServerFixture.Options) -> Void = { _ in }) async throws -> APIServerFixture {
    var options = APIServerFixture.Options()
    options.bookmarkMilliseconds = 50
    configure(&options)
    let server = try await APIServerFixture.start(options)
    server.apply([pod("a"), pod("b")])
    return server
}

private func reflector(
    of server: APIServerFixture, token: CredentialSource? = nil,
    _ configure: (inout Reflector<Pod>.Configuration) -> Void = { _ in }
) -> RunningReflector<Pod> {
    RunningReflector(
        .pods(labels: PodLabelMapping()), of: ClusterConfiguration(origin: "a test", server: server.url, token: token),
        configure)
}

@Suite struct ReflectorTests {
    // MARK: - Synchronization

    @Test("objects come with the streaming list, and changes after it")
    func objectsComeWithTheFirstWatchAndChangesAfterThem() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.store.keys == [key("a"), key("b")])
        server.apply(pod("c"))
        server.apply(pod("a", app: "web"))
        server.delete(pod("b"))
        try await reflector.holds([key("a"), key("c")])
        #expect(reflector.store.value.objects[key("a")]?.columnLabels == [.app: "web"])
        #expect(reflector.store.value.commits == 1)
        #expect(server.requests.map(\.kind) == [.streamingList])
        #expect(server.requests.first?.parameters["resourceVersionMatch"] == "NotOlderThan")
        #expect(server.requests.first?.parameters["allowWatchBookmarks"] == "true")
        try await eventually("three changes are counted") { reflector.statistics.changes == 3 }
        let statistics = reflector.statistics
        #expect(statistics.listedObjects == 2)
        #expect(statistics.resourceVersion == "\(server.version)")
        #expect(statistics.failures.isEmpty)
        // The streaming list is the first watch.
        #expect(statistics.watchingSince != nil && statistics.lastProgress != nil)
        #expect(server.requests.first?.userAgent == "kubenetmon")
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("a server without streaming lists is listed and watched")
    func aServerWithoutStreamingListsIsListedAndWatched() async throws {
        let server = try await server { $0.streamsLists = false }
        let reflector = reflector(of: server)
        try await reflector.synced()
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(server.requests.map(\.kind) == [.streamingList, .list, .watch])
        #expect(server.requests[1].parameters["resourceVersion"] == "0")
        #expect(server.requests[2].parameters["resourceVersion"] == "102")
        #expect(reflector.statistics.failures.isEmpty)
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("a server that ignores sendInitialEvents is listed")
    func aServerThatPassesOverTheParameterIsListed() async throws {
        let server = try await server()
        server.inject(.ignoresInitialEvents, into: [.streamingList])
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.store.keys == [key("a"), key("b")])
        #expect(server.count(.list) == 1)
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("nodes, services and ReplicaSets are reflected") func allResourcesAreReflected() async throws {
        let server = try await server()
        let cluster = ClusterConfiguration(origin: "a test", server: server.url)
        let address = try #require(IPAddress("10.0.0.1"))
        server.apply(Node(name: "node-a", addresses: [address], zone: "z"))
        server.apply(ClusterService(namespace: "shop", name: "web", clusterAddresses: [address]))
        let uid = ObjectUID("d471f453-2d64-45a7-a734-531e54b8e51e")
        server.apply(ReplicaSet(uid: uid, owner: ObjectOwner(kind: "Deployment", name: "web", uid: ObjectUID("x"))))
        for streamsLists in [true, false] {
            let nodes = RunningReflector(.nodes, of: cluster) { $0.streamsLists = streamsLists }
            let services = RunningReflector(.services, of: cluster) { $0.streamsLists = streamsLists }
            let replicaSets = RunningReflector(.replicaSets, of: cluster) { $0.streamsLists = streamsLists }
            try await nodes.holds(["node-a"])
            try await services.holds(["shop/web"])
            try await replicaSets.holds([uid.text])
            #expect(nodes.store.value.objects["node-a"]?.zone == "z")
        }
        #expect(
            server.requests.first { $0.resource == "replicasets" }?.accept?.contains("PartialObjectMetadata") == true)
    }

    @Test("a pod that terminates is deleted") func aPodThatEndsIsDeleted() async throws {
        let server = try await server()
        server.apply(pod("done", terminated: true))
        let reflector = reflector(of: server)
        try await reflector.holds([key("a"), key("b")])
        server.apply(pod("a", terminated: true))
        try await reflector.holds([key("b")])
        #expect(
            server.requests.first?.parameters["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed")
    }

    @Test("an object deleted during a streaming list stays deleted")
    func whatIsDeletedBeforeTheListIsWholeStaysDeleted() async throws {
        let server = try await server()
        let frames: [[UInt8]] = [
            ObjectEncoder.event("ADDED", pod("a"), resourceVersion: "1"),
            ObjectEncoder.event("ADDED", pod("b"), resourceVersion: "2"),
            ObjectEncoder.event("DELETED", pod("a"), resourceVersion: "3"),
            ObjectEncoder.event("ADDED", pod("c"), resourceVersion: "4"),
            ObjectEncoder.bookmark(of: Pod.self, resourceVersion: "4", endsInitialEvents: true),
            ObjectEncoder.event("MODIFIED", pod("c", app: "web"), resourceVersion: "5"),
        ]
        server.inject(.bytes(Array(frames.joined())), into: [.streamingList])
        server.inject(.silence, into: [.watch])
        let reflector = reflector(of: server)
        try await reflector.holds([key("b"), key("c")])
        try await eventually("the watch is open") { server.count(.watch) == 1 }
        #expect(reflector.store.value.objects[key("c")]?.columnLabels == [.app: "web"])
        #expect(server.requests.last?.parameters["resourceVersion"] == "5")
        #expect(reflector.store.value.breaches.isEmpty)
    }

    // MARK: - Ends of watches

    @Test("a watch that ends is continued without a list", arguments: [true, false])
    func aWatchThatEndsGoesOnWithoutAList(streamsLists: Bool) async throws {
        let server = try await server { $0.streamsLists = streamsLists }
        let reflector = reflector(of: server) { $0.watchSeconds = 1...1 }
        try await reflector.synced()
        let lists = server.requests.count { $0.kind != .watch }
        // Changes of other resources advance the version in bookmarks.
        server.apply(Node(name: "node-a", addresses: []))
        try await eventually("a watch resumes from the bookmark") {
            server.requests.last?.parameters["resourceVersion"] == "103"
        }
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(server.requests.count { $0.kind != .watch } == lists)
        #expect(server.connectionCount == 1)
        #expect(reflector.statistics.watchRestarts >= 1)
        #expect(reflector.statistics.failures.isEmpty)
        #expect(reflector.statistics.relists == 0)
    }

    @Test("a server that is unavailable for a while is watched again without a list")
    func aServerThatIsGoneIsFoundAgain() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(
            .status(KubernetesStatus(code: 503, reason: "ServiceUnavailable")), into: [.watch, .version], times: 3)
        await server.closeConnections()
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(reflector.statistics.failures == [.server: 3])
        #expect(reflector.statistics.relists == 0)
        try await eventually("the error is cleared") { reflector.statistics.lastError == nil }
        // Three log lines: for the first list, for all three failures together, and for the recovery.
        try await eventually("the recovery is logged") { reflector.log.lines.count == 3 }
    }

    @Test("a connection that breaks within a frame is not a failure")
    func aConnectionCutInAFrameIsNoFailure() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(.cut(afterBytes: 30), into: [.watch], times: 1)
        await server.closeConnections()
        try await eventually("a new watch is open") { server.count(.watch) >= 1 }
        server.apply([pod("c"), pod("d")])
        try await reflector.holds([key("a"), key("b"), key("c"), key("d")])
        #expect(reflector.statistics.failures.isEmpty)
        #expect(reflector.statistics.relists == 0)
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("watches that end at once back off and are followed by a list")
    func aWatchThatEndsAtOnceBacksOffAndIsListedAnew() async throws {
        let server = try await server()
        let reflector = reflector(of: server) {
            $0.backoff = Backoff(initial: .seconds(2), maximum: .seconds(2))
        }
        try await reflector.watches(server)
        server.inject(.nothing, into: [.watch], times: 100)
        await server.closeConnections()
        let start = ContinuousClock.now
        try await eventually("the resource is listed again") { reflector.statistics.relists >= 1 }
        // Two waits of at least a tenth of two seconds each.
        #expect(ContinuousClock.now - start >= .milliseconds(400))
        let requests = server.requests.map(\.kind)
        let list = requests.lastIndex(of: .streamingList) ?? 0
        #expect(2...3 ~= requests[..<list].count { $0 == .watch })
    }

    @Test(
        "an expired version is listed again, and missing objects are deleted", arguments: [true, false], [true, false])
    func anExpiredVersionIsListedAnewAndWhatIsGoneGoes(streamsLists: Bool, expiresWithStatus: Bool) async throws {
        let server = try await server {
            $0.streamsLists = streamsLists
            $0.expiresWithStatus = expiresWithStatus
        }
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(.silence, into: [.watch])
        await server.closeConnections()
        try await eventually("a new watch is open") { server.count(.watch) == (streamsLists ? 1 : 2) }
        server.delete(pod("a"))
        server.apply(pod("c"))
        server.compact()
        await server.closeConnections()
        try await reflector.holds([key("b"), key("c")])
        try await eventually("the relist is counted") { reflector.statistics.relists == 1 }
        #expect(reflector.statistics.failures[.expired] == 1)
        if !streamsLists { #expect(server.requests.last { $0.kind == .list }?.parameters["limit"] == "500") }
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("a cluster restored from a backup is listed again")
    func aClusterRestoredFromABackupIsListedAnew() async throws {
        let server = try await server()
        // This reflector's watches do not end by themselves during the test.
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.delete(pod("a"))
        try await reflector.holds([key("b")])
        server.restore(version: 50)
        await server.closeConnections()
        try await eventually("the resource is listed again") { reflector.statistics.relists == 1 }
        server.apply(pod("c"))
        try await reflector.holds([key("b"), key("c")])
        #expect(server.count(.version) == 1)
        #expect(reflector.log.lines.contains { $0.hasPrefix("warning") && $0.contains("versions have decreased") })
    }

    // MARK: - Silence

    /// Existing connections go silent and new ones are served, as when a load balancer's backend disappears without
    /// closing them.
    @Test("a silent watch is closed and opened again") func aWatchThatFallsSilentIsGivenUp() async throws {
        let server = try await server()
        let reflector = reflector(of: server) { $0.bookmarkInterval = .seconds(2) }
        try await reflector.watches(server)
        try await server.freezeConnections()
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect((reflector.statistics.failures[.timeout] ?? 0) >= 1)
        #expect(reflector.statistics.relists == 0)
        let line = try #require(reflector.log.lines.first { $0.hasPrefix("warning") })
        for word in ["cannot watch pods", "received nothing for", "timeout"] {
            #expect(line.contains(word), "\(word)")
        }
    }

    @Test("a silent first list is closed and retried", arguments: [0, 30])
    func aFirstListThatFallsSilentIsGivenUp(bytes: Int) async throws {
        for streamsLists in [true, false] {
            let server = try await server { $0.streamsLists = streamsLists }
            server.inject(.freeze(afterBytes: bytes), into: [streamsLists ? .streamingList : .list])
            let reflector = reflector(of: server) { $0.listSilence = .seconds(1) }
            try await reflector.synced()
            #expect(reflector.store.keys == [key("a"), key("b")])
            #expect((reflector.statistics.failures[.timeout] ?? 0) >= 1)
            #expect(reflector.store.value.breaches.isEmpty)
        }
    }

    /// The API server answers every watch with the same error, as when it cannot decode the next event.
    @Test("a watch that repeats an error is followed by a list", arguments: [500, 400, 429, 503])
    func aWatchThatTellsOfAnErrorForEverIsListedAnew(code: Int) async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(
            .errorEvent(KubernetesStatus(code: code, reason: "InternalError")), into: [.watch], times: 10_000)
        await server.closeConnections()
        server.apply(pod("c"))
        func failures() -> UInt64 { reflector.statistics.failures.values.reduce(0, +) }
        try await eventually("a watch has failed") { failures() >= 1 }
        let before = reflector.statistics.lastProgress
        try await eventually("a second watch has failed") { failures() >= 2 || reflector.statistics.relists >= 1 }
        // An error response does not count as news of the objects.
        let afterFailure = reflector.statistics
        if afterFailure.relists == 0 { #expect(afterFailure.lastProgress == before) }
        try await eventually("the resource is listed again") { reflector.statistics.relists >= 1 }
        try await reflector.holds([key("a"), key("b"), key("c")])
    }

    // MARK: - Lists

    @Test("a large list is read in pages") func aLargeListComesInPages() async throws {
        let server = try await server { $0.streamsLists = false }
        server.apply((0..<1200).map { pod("pod-\($0)") })
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(.errorEvent(KubernetesStatus(code: 410, reason: "Expired")), into: [.watch])
        await server.closeConnections()
        try await eventually("the resource is listed again") { reflector.statistics.relists == 1 }
        #expect(reflector.store.keys.count == 1202)
        #expect(server.count(.page) == 2)
        let pages = server.requests.filter { $0.kind == .page }
        #expect(pages.allSatisfy { $0.parameters["limit"] == "500" && $0.parameters["resourceVersion"] == nil })
        server.delete(pod("pod-7"))
        try await eventually("the change arrives") { reflector.store.keys.count == 1201 }
    }

    @Test("an expired page restarts the list", arguments: [1, 2])
    func anExpiredPageBeginsAnew(times: Int) async throws {
        let server = try await server { $0.streamsLists = false }
        server.apply([pod("c"), pod("d")])
        let reflector = reflector(of: server) { $0.pageSize = 2 }
        try await reflector.watches(server)
        server.inject(.status(KubernetesStatus(code: 410, reason: "Expired")), into: [.page], times: times)
        server.inject(.errorEvent(KubernetesStatus(code: 410, reason: "Expired")), into: [.watch])
        await server.closeConnections()
        try await eventually("the resource is listed again") { reflector.statistics.relists == 1 }
        #expect(reflector.store.keys == [key("a"), key("b"), key("c"), key("d")])
        #expect(server.count(.list) == 2 + times)
        #expect(server.requests.last { $0.kind == .list }?.parameters["limit"] == (times == 1 ? "2" : nil))
        // The first abandoned set is that of the streaming list, which the server does not support.
        #expect(reflector.store.value.abandons == 1 + times)
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("a truncated list is not committed", arguments: [true, false], [10, 200])
    func aListThatIsCutIsNotUsed(streamsLists: Bool, bytes: Int) async throws {
        let server = try await server { $0.streamsLists = streamsLists }
        server.inject(.cut(afterBytes: bytes), into: [streamsLists ? .streamingList : .list], times: 2)
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.store.keys == [key("a"), key("b")])
        #expect(reflector.statistics.failures == [.connection: 2])
        #expect(reflector.store.value.commits == 1)
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("responses that arrive byte by byte are decoded")
    func aServerThatSendsByteByByteIsUnderstood() async throws {
        for streamsLists in [true, false] {
            let server = try await server { $0.streamsLists = streamsLists }
            server.inject(.bytewise, into: [.streamingList, .list, .watch], times: 4)
            let reflector = reflector(of: server)
            try await reflector.synced()
            server.apply(pod("c"))
            try await reflector.holds([key("a"), key("b"), key("c")])
            #expect(reflector.statistics.failures.isEmpty)
        }
    }

    @Test("thousands of pods are listed") func thousandsOfPodsAreTaken() async throws {
        let server = try await server()
        server.apply((0..<4_000).map { pod("pod-\($0)") }, padding: 2_000)
        for streamsLists in [true, false] {
            let reflector = reflector(of: server) { $0.streamsLists = streamsLists }
            try await eventually("the reflector is synced") { reflector.statistics.isSynced }
            #expect(reflector.store.keys.count == 4_002)
            #expect(reflector.statistics.listedObjects == 4_002)
        }
    }

    // MARK: - Rejections

    @Test("a rejected token is read again at once") func aRefusedTokenIsReadAgainAtOnce() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("token-one\n", to: "token")
        let server = try await server { $0.tokens = ["token-one"] }
        let reflector = reflector(of: server, token: .file(path))
        try await reflector.watches(server)
        server.update { $0.tokens = ["token-two"] }
        try folder.write("token-two\n", to: "token")
        await server.closeConnections()
        try await eventually("the watch is open") { server.count(.watch) == 1 && server.openWatches == 1 }
        #expect(server.requests.map(\.token) == ["token-one", "token-one", "token-two", "token-two"])
        #expect(server.requests.map(\.kind) == [.streamingList, .version, .version, .watch])
        #expect(reflector.statistics.failures == [.unauthorized: 1])
        #expect(!reflector.log.lines.contains { $0.contains("token-") })
    }

    @Test("a token that stays rejected is logged as an error once")
    func aTokenThatIsRefusedForGoodIsAnError() async throws {
        let server = try await server { $0.tokens = ["right"] }
        let reflector = reflector(of: server, token: .bytes(Array("wrong-token".utf8)))
        try await eventually("the request has been retried") { server.requests.count > 4 }
        #expect(!reflector.statistics.isSynced)
        #expect(reflector.statistics.lastError?.contains("401") == true)
        #expect(reflector.log.lines.count { $0.hasPrefix("error") } == 1)
        #expect(!reflector.log.lines.contains { $0.contains("wrong-token") })
        server.update { $0.tokens = nil }
        try await reflector.synced()
    }

    @Test("a malformed token is not sent", arguments: ["two words", "line\r\nX-Evil: 1", "ü"])
    func aTokenThatIsNoneIsNotSent(token: String) async throws {
        let server = try await server()
        let reflector = reflector(of: server, token: .bytes(Array(token.utf8)))
        try await eventually("the rejected credentials are counted") {
            (reflector.statistics.failures[.credentials] ?? 0) > 1
        }
        #expect(server.requests.isEmpty)
        #expect(!reflector.log.lines.contains { $0.contains(token) })
    }

    @Test("a missing token file is reported, and the token stays in use")
    func aTokenFileThatIsGoneIsReportedAndTheTokenKept() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("good", to: "token")
        let server = try await server { $0.tokens = ["good"] }
        let reflector = reflector(of: server, token: .file(path))
        try await reflector.watches(server)
        try folder.remove("token")
        server.inject(.status(KubernetesStatus(code: 401, reason: "Unauthorized")), into: [.watch])
        await server.closeConnections()
        try await eventually("a new watch is open") { server.count(.watch) == 2 && server.openWatches == 1 }
        try await eventually("the missing token file is counted") { reflector.statistics.failures[.credentials] == 1 }
        #expect(reflector.log.lines.contains { $0.contains(path) })
    }

    @Test("the log names the right that a forbidden request lacks")
    func whatIsForbiddenSaysWhatIsMissing() async throws {
        let server = try await server { $0.streamsLists = false }
        server.inject(
            .status(
                KubernetesStatus(
                    code: 403, reason: "Forbidden", message: "pods is forbidden: User \"x\" cannot list resource")),
            into: [.list], times: 7)
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.statistics.failures == [.forbidden: 7])
        let lines = reflector.log.lines.filter { !$0.hasPrefix("notice") && !$0.hasPrefix("info") }
        #expect(lines.count == 2 && lines[0].hasPrefix("warning"))
        let line = try #require(lines.first { $0.hasPrefix("error") })
        for word in ["cannot list pods", "list and watch on pods", "ClusterRole", "User \"x\""] {
            #expect(line.contains(word), "\(word)")
        }
    }

    @Test("the server's Retry-After is kept") func aBusyServerIsLeftAloneForAsLongAsItAsks() async throws {
        let server = try await server()
        server.inject(
            .status(KubernetesStatus(code: 429, reason: "TooManyRequests", retryAfterSeconds: 1)),
            into: [.streamingList])
        let start = ContinuousClock.now
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(ContinuousClock.now - start >= .seconds(1))
        #expect(reflector.statistics.failures == [.throttled: 1])
    }

    @Test("a watch that ends with an error is retried") func anErrorInAWatchIsTriedAgain() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(.errorEvent(KubernetesStatus(code: 500, reason: "InternalError")), into: [.watch])
        await server.closeConnections()
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(reflector.statistics.failures == [.server: 1])
        #expect(reflector.statistics.relists == 0)
    }

    // MARK: - Malformed responses

    @Test("a malformed watch is counted and retried") func aWatchOfRubbishIsCountedAndTriedAgain() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.watches(server)
        server.inject(.bytes([0xff, 0xff, 0xff, 0xff, 1, 2, 3]), into: [.watch])
        await server.closeConnections()
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(reflector.statistics.failures == [.malformed: 1])
        #expect(reflector.statistics.relists == 0)
    }

    @Test("a response in another format is counted and retried")
    func anAnswerInAnotherFormatIsCounted() async throws {
        let server = try await server { $0.streamsLists = false }
        server.inject(.bytes(Array("{\"kind\":\"PodList\"}".utf8)), into: [.list])
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.statistics.failures == [.malformed: 1])
        #expect(reflector.store.value.breaches.isEmpty)
    }

    @Test("a malformed object in a watch is skipped and counted")
    func anObjectThatCannotBeReadIsPassedOver() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.synced()
        server.insert(event: "ADDED", resource: "pods", message: [1, 2, 3])
        server.apply(pod("c"))
        try await reflector.holds([key("a"), key("b"), key("c")])
        #expect(reflector.statistics.malformedObjects == 1)
        #expect(reflector.statistics.failures.isEmpty)
    }

    @Test("an unreadable address is counted") func anAddressThatCannotBeReadIsCounted() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.synced()
        #expect(reflector.statistics.unreadableAddresses == 0)
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, "c")
            metadata.append(3, "shop")
            metadata.append(5, pod("c").uid.text)
            metadata.append(6, "103")
        }
        message.append(3) { status in
            for address in ["10.0.0.7", "fe80::1%eth0", ""] { status.append(12) { $0.append(1, address) } }
        }
        server.insert(event: "ADDED", resource: "pods", message: message.bytes)
        try await reflector.holds([key("a"), key("b"), key("c")])
        try await eventually("the unreadable address is counted") { reflector.statistics.unreadableAddresses == 1 }
        #expect(reflector.statistics.malformedObjects == 0)
    }

    @Test("a deleted pod is removed although its object is malformed")
    func aPodThatIsGoneIsDeletedThoughItCannotBeRead() async throws {
        let server = try await server()
        let reflector = reflector(of: server)
        try await reflector.synced()
        var message = ProtobufWriter()
        message.append(1) { metadata in
            metadata.append(1, "a")
            metadata.append(3, "shop")
            metadata.append(5, pod("a").uid.text)
            metadata.append(6, "103")
        }
        message.append(3, [0xff])
        server.insert(event: "DELETED", resource: "pods", message: message.bytes)
        try await reflector.holds([key("b")])
        #expect(reflector.statistics.malformedObjects == 0)
    }

    // MARK: - Ends

    /// Stopping waits neither for the head of a response, which would fail after a minute, nor for the end of a wait.
    @Test("the reflector stops at once, whatever it waits for") func itStopsWhateverItWaitsFor() async throws {
        let server = try await server()
        let watching = reflector(of: server)
        try await watching.synced()
        try await watching.stop()
        try await eventually("the watch is closed") { server.openWatches == 0 }

        server.inject(.silence, into: [.streamingList])
        let asking = reflector(of: server)
        try await eventually("the list is requested") { server.count(.streamingList) == 2 }
        try await asking.stop()
        #expect(asking.store.value.next == nil && asking.statistics.failures.isEmpty)

        server.inject(.status(KubernetesStatus(code: 503)), into: [.streamingList])
        let waiting = reflector(of: server) {
            $0.backoff = Backoff(initial: .seconds(86_400), maximum: .seconds(86_400))
        }
        try await eventually("the reflector waits to retry") { waiting.statistics.failures == [.server: 1] }
        try await waiting.stop()
        #expect(waiting.log.lines.count == 1)
    }

    @Test("an unreachable server is retried and logged once") func aServerThatIsNotThereIsWaitedFor() async throws {
        let reflector = RunningReflector(
            .pods(labels: PodLabelMapping()),
            of: ClusterConfiguration(origin: "a test", server: try RawHTTPServer.closedURL()))
        try await eventually("connection attempts have failed") {
            (reflector.statistics.failures[.connection] ?? 0) > 3
        }
        #expect(!reflector.statistics.isSynced)
        #expect(reflector.statistics.lastError?.contains("127.0.0.1") == true)
        #expect(reflector.log.lines.count == 1)
    }
}
