// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import HTTPClient
import KubernetesTestKit
import Logging
import Synchronization
import TestSupport
import Testing

@testable import KubernetesAPI

/// Replays a real server's responses in their order and records the requests. Stops the reflector after the last
/// response.
private struct RecordedTransport: KubernetesTransport, ~Copyable {
    final class Tape: Sendable {
        let answers: Mutex<[(status: Int, body: [UInt8])]>
        let requests = Mutex<[String]>([])

        init(_ answers: [(status: Int, capture: String)]) throws {
            self.answers = Mutex(try answers.map { ($0.status, try Capture.bytes($0.capture)) })
        }
    }

    let tape: Tape
    var staleCredentials: [String] { [] }
    mutating func refreshCredentials() {}
    mutating func expireCredentials() { tape.requests.withLock { $0.append("credentials expire") } }

    mutating func get(
        _ path: String, parameters: [(name: String, value: String)], accept: String,
        timeouts: KubernetesClient.Timeouts, cancellation: HTTPCancellation,
        silenceEnds: () -> ContinuousClock.Instant?, onHead: (HTTPHead) -> Bool,
        onBody: (UnsafeRawBufferPointer) -> Bool
    ) throws(KubernetesClientError) -> HTTPClient.StreamEnd {
        let asked = parameters.filter { $0.name != "timeoutSeconds" && $0.name != "allowWatchBookmarks" }
        tape.requests.withLock { requests in
            requests.append(([path] + asked.map { "\($0.name)=\($0.value)" }).joined(separator: " "))
        }
        let answer = tape.answers.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        guard let answer else {
            cancellation.cancel()
            return .stopped
        }
        guard onHead(HTTPHead(status: answer.status, headers: [:])) else { return .stopped }
        return answer.body.withUnsafeBytes(onBody) ? .complete : .stopped
    }
}

@Suite struct RecordedTransportTests {
    private func requests(
        _ answers: [(status: Int, capture: String)], streamsLists: Bool, into store: RecordingStore<Pod>
    ) throws -> [String] {
        let tape = try RecordedTransport.Tape(answers)
        var configuration = Reflector<Pod>.Configuration()
        configuration.streamsLists = streamsLists
        // A recorded watch ends at once; with a requested duration of one second it counts as complete.
        configuration.watchSeconds = 1...1
        let worker = ReflectorWorker(
            .pods(labels: PodLabelMapping()), RecordedTransport(tape: tape), store, configuration,
            Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, ReflectorStatisticsBox(), HTTPCancellation()
        ) { _ in }
        worker.run()
        return tape.requests.withLock { $0 }
    }

    private let selector = "fieldSelector=status.phase!=Succeeded,status.phase!=Failed"

    @Test("a recorded list and watch of a real server are followed")
    func aRealServersListAndWatchAreFollowed() throws {
        let store = RecordingStore<Pod>()
        let asked = try requests([(200, "pods.list.pb"), (200, "pods.watch.pb")], streamsLists: false, into: store)
        let list = try Capture.list("pods.list.json")
        #expect(asked.count == 3)
        #expect(asked[0] == "/api/v1/pods \(selector) resourceVersion=0")
        #expect(asked[1].hasPrefix("/api/v1/pods \(selector) watch=1 resourceVersion="))
        // The watch continues from its own last bookmark.
        let last = try #require(try Capture.watch("pods.watch.json").last?.object.metadata.resourceVersion)
        #expect(asked[2] == "/api/v1/pods \(selector) watch=1 resourceVersion=\(last)")
        let deleted = try Capture.watch("pods.watch.json").filter { $0.type == "DELETED" }.map { try $0.object.pod.uid }
        #expect(deleted.count == 1)
        let expected = Set(try list.map { try $0.pod.uid }).subtracting(deleted)
        #expect(Set(store.value.objects.values.map(\.uid)) == expected)
    }

    @Test("a recorded streaming list of a real server is committed at its end")
    func aRealServersStreamingListIsCommittedAtItsEnd() throws {
        let store = RecordingStore<Pod>()
        let asked = try requests([(200, "pods.watchlist.pb")], streamsLists: true, into: store)
        #expect(asked[0].hasSuffix("watch=1 sendInitialEvents=true resourceVersionMatch=NotOlderThan"))
        #expect(store.value.commits == 1)
        // After the end of the list, one of its pods is deleted.
        #expect(store.value.objects.count == (try Capture.list("pods.list.json").count) - 1)
    }

    @Test("an expired watch is followed by a list of the latest version")
    func anExpiredWatchIsFollowedByAListOfTheLatest() throws {
        let store = RecordingStore<Pod>()
        let asked = try requests(
            [(200, "pods.list.pb"), (200, "pods.watch-expired.pb"), (200, "pods.page1.pb"), (200, "pods.page2.pb")],
            streamsLists: false, into: store)
        #expect(asked[2] == "/api/v1/pods \(selector) limit=500")
        #expect(asked[3].hasPrefix("/api/v1/pods \(selector) continue="))
        // The third page is missing, so the set of the first list stays.
        #expect(store.value.objects.count == (try Capture.list("pods.list.json").count))
    }

    @Test("a status 401 makes the credentials expire") func aRefusalMakesTheCredentialsExpire() throws {
        let asked = try requests(
            [(401, "status-401.pb"), (200, "pods.list.pb")], streamsLists: false, into: RecordingStore<Pod>())
        #expect(asked[1] == "credentials expire" && asked[2] == asked[0])
    }
}
