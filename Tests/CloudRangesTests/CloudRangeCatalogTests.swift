// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel
import Foundation
import Logging
import TestSupport
import Testing

@testable import CloudRanges
@testable import Retry

private typealias Configuration = CloudRangeCatalog.Configuration

/// Starts a catalog of one list from a URL, with short waits between retries.
private func running(
    _ provider: RangeProvider, _ url: String, cache: TemporaryDirectory? = nil,
    refreshInterval: Duration = .seconds(86_400), timeoutMilliseconds: Int = 300_000, maximumBytes: Int = 1 << 20
) -> RunningCatalog {
    var configuration = Configuration(
        sources: [provider: .url(url)], cacheDirectory: cache?.path, refreshInterval: refreshInterval,
        timeoutMilliseconds: timeoutMilliseconds, maximumBytes: maximumBytes)
    configuration.backoff = Backoff(initial: .milliseconds(10), maximum: .milliseconds(20))
    return RunningCatalog(configuration)
}

private let google = TestLists.google

@Suite struct CloudRangeCatalogTests {
    @Test("the lists of all providers are fetched and merged") func listsAreFetchedAndMerged() async throws {
        let server = try RawHTTPServer { request, _ in
            switch request.target {
            case "/aws": .status(200, TestLists.aws)
            case "/gcp": .status(200, TestLists.googleCloud)
            case "/google": .status(200, TestLists.google)
            default: .status(200, TestLists.azure)
            }
        }
        let running = RunningCatalog(
            Configuration(
                sources: Dictionary(
                    uniqueKeysWithValues: RangeProvider.allCases.map { ($0, .url("\(server.url)/\($0.rawValue)")) })))
        try await eventually("all lists are loaded") { running.changes.count == 4 }
        #expect(
            running.lines == [
                "3.2.34.0/26 aws global globalaccelerator", "3.5.140.0/22 aws eu-central-1 s3",
                "4.145.0.0/16 azure westeurope azurecloud", "4.145.74.52/30 azure westeurope actiongroup",
                "8.8.8.0/24 gcp global googleservice", "34.1.208.0/20 gcp africa-south1 googlecloud",
                "34.8.0.0/16 gcp global googlecloud", "2001:4860::/32 gcp global googleservice",
                "2600:1900:8000::/44 gcp africa-south1 googlecloud",
                "2603:1020:200::/46 azure westeurope azurecloud", "2a05:d07a:a000::/40 aws eu-south-1 amazon",
            ])
        let statistics = running.catalog.statistics
        #expect(statistics.prefixes == 11)
        #expect(statistics.changes == 4)
        #expect(statistics.sources.map(\.provider) == RangeProvider.allCases)
        #expect(statistics.sources.map(\.prefixes) == [3, 3, 3, 3])
        #expect(
            statistics.sources.allSatisfy { $0.origin == .url && $0.lastError == nil && ($0.age ?? 99_999) < 3_600 })
        #expect(running.catalog.regions(of: "aws") == ["eu-central-1", "eu-south-1"])
        #expect(running.catalog.regions(of: "gcp") == ["africa-south1"])
        #expect(running.catalog.regions(of: "on-prem") == [])
        try await running.stop()
        #expect(server.requests.count == 4)
    }

    @Test(
        "a list that is compressed without being requested so is decompressed",
        arguments: ["Content-Encoding: gzip\r\n", "Content-Encoding: UTF-8\r\n", ""])
    func aListThatIsCompressedUnaskedIsDecoded(header: String) async throws {
        let compressed = try gzip(TestLists.aws)
        let head = "HTTP/1.1 200 OK\r\nContent-Length: \(compressed.count)\r\n\(header)\r\n"
        let server = try RawHTTPServer { request, _ in
            request.headers["accept-encoding"] == nil ? .raw(Array(head.utf8) + compressed) : .status(500)
        }
        let running = running(.aws, server.url)
        try await eventually("the list is loaded") { running.source(.aws).prefixes == 3 }
        try await running.stop()
        #expect(server.requests.first?.headers["user-agent"] == "kubenetmon")
    }

    @Test("a list is rejected if it is damaged, compressed twice or too large")
    func whatIsDamagedOrBecomesTooLargeIsNoList() throws {
        let compressed = try gzip(TestLists.aws)
        for damaged in [
            Array(compressed.dropLast(9)), Array(compressed.prefix(2)), compressed.prefix(20) + [0xff, 0xff],
        ] {
            #expect(throws: RangeListError.notJSON(detail: "it is compressed and either damaged or truncated")) {
                try RangeList(damaged, of: .aws)
            }
        }
        // A document is decompressed only once.
        #expect(throws: RangeListError.self) { try RangeList(try gzip(compressed), of: .aws) }
        let bomb = try gzip(String(repeating: " ", count: 65 << 20))
        #expect(bomb.count < 1 << 20)
        #expect(
            throws: RangeListError.notJSON(detail: "it is compressed and larger than 67108864 bytes when unpacked")
        ) {
            try RangeList(bomb, of: .aws)
        }
    }

    private func gzip(_ text: String) throws -> [UInt8] { try gzip(Array(text.utf8)) }

    private func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
        let (process, input, output) = (Process(), Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-9c"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        Thread.detachNewThread {
            try? input.fileHandleForWriting.write(contentsOf: Data(bytes))
            try? input.fileHandleForWriting.close()
        }
        return Array(try output.fileHandleForReading.readToEnd() ?? Data())
    }

    @Test("a known list is requested with its validators and not sent again")
    func aListThatIsKnownIsNotSentAgain() async throws {
        let server = try RawHTTPServer { request, _ in
            request.headers["if-none-match"] == "\"v1\"" && request.headers["if-modified-since"] == "Sat"
                ? .status(304) : .status(200, headers: ["ETag: \"v1\"", "Last-Modified: Sat"], google)
        }
        let running = running(.google, server.url, refreshInterval: .milliseconds(20))
        try await eventually("three more requests are answered with 304") { running.source(.google).notModified >= 3 }
        try await running.stop()
        #expect(running.changes.count == 1)
        #expect(running.source(.google).failures == 0)
        #expect(running.source(.google).successes == running.source(.google).notModified + 1)
        #expect(running.source(.google).origin == .url)
        #expect(server.requests[0].headers["if-none-match"] == nil)
    }

    @Test("a changed list is used; the same list again is no change")
    func aChangedListIsTakenAndTheSameOneIsNoChange() async throws {
        let server = try RawHTTPServer { _, number in
            .status(
                200, headers: ["ETag: \(number)"],
                number < 3 ? google : TestLists.google.replacing("8.8.8", with: "8.8.4"))
        }
        let running = running(.google, server.url, refreshInterval: .milliseconds(20))
        try await eventually("the new list is in use") { running.lines.contains("8.8.4.0/24 gcp global googleservice") }
        try await running.stop()
        #expect(running.changes.count == 2)
        #expect(server.requests[2].headers["if-none-match"] == "1")
    }

    @Test(
        "a response that is not the list is a failure and is retried",
        arguments: [
            (RawHTTPServer.Answer.status(404), "status 404"), (.status(500, google), "status 500"),
            (.status(204), "status 204"), (.status(304), "status 304"),
            (.status(302, headers: ["Location: http://127.0.0.1/"], google), "http"),
            (.status(200, "<html>Sign in</html>"), "not JSON"), (.status(200, String(google.dropLast(20))), "not JSON"),
            (.status(200, #"{"prefixes": []}"#), "no prefixes"), (.status(200, "{}"), "expected list"),
            (.bytesAndHangUp("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + google), "transfer closed"),
            (.status(200, google + String(repeating: " ", count: 1 << 20)), "larger than 1048576 bytes"),
            (.hangUp, "Empty reply"),
        ])
    func whatIsNotTheListIsAFailureThatIsTriedAgain(answer: RawHTTPServer.Answer, error: String) async throws {
        let failures = 3
        let server = try RawHTTPServer { _, number in number < failures ? answer : .status(200, google) }
        let running = running(.google, server.url)
        try await eventually("the list is loaded") { running.source(.google).prefixes == 3 }
        try await running.stop()
        let source = running.source(.google)
        #expect(source.failures == 3)
        #expect(source.successes == 1)
        #expect(source.fetches == 4)
        #expect(source.lastError == nil)
        #expect(running.changes.count == 1)
        // One log line for each change of state, not for each attempt.
        #expect(
            running.log == [
                "warning: cannot load an address list; its addresses have no labels until a retry succeeds",
                "info: address list loaded",
            ])
        // While the source fails, `lastError` gives the reason.
        let failing = self.failing(answer)
        try await eventually("the fetch has failed") { failing.source(.google).failures > 0 }
        #expect(failing.source(.google).lastError?.contains(error) == true, "\(failing.source(.google))")
        try await failing.stop()
    }

    private func failing(_ answer: RawHTTPServer.Answer) -> RunningCatalog {
        let url = (try? RawHTTPServer { _, _ in answer })?.url ?? ""
        return running(.google, url)
    }

    @Test("a request without a response times out and is retried") func aServerThatSaysNothingIsLeft() async throws {
        let server = try RawHTTPServer { _, number in number == 0 ? .silence : .status(200, google) }
        let running = running(.google, server.url, timeoutMilliseconds: 200)
        try await eventually("the list is loaded") { running.source(.google).prefixes == 3 }
        try await running.stop()
        #expect(running.source(.google).failures > 0)
    }

    @Test("a failure leaves the last good list in use") func aFailureLeavesTheLastGoodListInUse() async throws {
        let server = try RawHTTPServer { _, number in number == 0 ? .status(200, google) : .status(500) }
        let running = running(.google, server.url, refreshInterval: .milliseconds(20))
        try await eventually("three fetches have failed") { running.source(.google).failures >= 3 }
        try await running.stop()
        let source = running.source(.google)
        #expect(running.changes.count == 1)
        #expect(source.prefixes == 3)
        #expect(source.origin == .url)
        #expect(source.lastError == "the server answered with status 500")
    }

    @Test("the failure of one list does not affect another")
    func oneListThatFailsIsNoHindranceToAnother() async throws {
        let server = try RawHTTPServer { request, _ in
            request.target == "/aws" ? .hangUp : .status(200, TestLists.google)
        }
        let running = RunningCatalog(
            Configuration(sources: [.aws: .url(server.url + "/aws"), .google: .url(server.url + "/google")]))
        try await eventually("the other list is loaded") { running.lines.count == 3 }
        try await running.stop()
        #expect(running.source(.aws).origin == .none)
        #expect(running.source(.aws).failures > 0)
    }

    @Test("stopping does not wait for a fetch") func stoppingDoesNotWaitForAFetch() async throws {
        let server = try RawHTTPServer { _, _ in .silence }
        let running = running(.google, server.url, timeoutMilliseconds: 3_600_000)
        try await eventually("the list is requested") { server.requests.count == 1 }
        let start = ContinuousClock.now
        try await running.stop()
        #expect(ContinuousClock.now - start < .seconds(1_800))
        #expect(running.source(.google).failures == 0)
        #expect(running.log == [])
    }

    @Test("stopping does not wait for the next refresh") func stoppingDoesNotWaitForTheNextTime() async throws {
        let server = try RawHTTPServer { _, _ in .status(200, google) }
        let running = running(.google, server.url)
        try await eventually("the list is loaded") { running.lines.count == 3 }
        try await running.stop()
    }

    @Test("without any list, the user's own ranges are used")
    func withoutAnyListThereAreTheUsersOwnRanges() async throws {
        let named = try RangeList(TestLists.google, of: .google).ranges
        let running = RunningCatalog(Configuration(sources: [:], namedRanges: named))
        try await eventually("the configured ranges are in use") { running.changes == [named.map(\.line)] }
        try await running.stop()
        let none = RunningCatalog(Configuration(sources: [:]))
        try await none.stop()
        #expect(none.changes == [])
    }
}

@Suite struct CachedListTests {
    @Test("a restarted server uses the cached list if the source fails")
    func aRestartedServerKnowsTheCloudsWithoutTheInternet() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try RawHTTPServer { _, number in
            number == 0 ? .status(200, headers: ["ETag: \"v1\""], google) : .status(503)
        }
        let first = running(.google, server.url, cache: directory)
        try await eventually("the list is loaded") { first.lines.count == 3 }
        try await first.stop()

        let second = running(.google, server.url, cache: directory)
        try await eventually("the cached list is loaded and the fetch has failed") {
            second.lines.count == 3 && second.source(.google).failures > 0
        }
        #expect(second.source(.google).origin == .cache)
        #expect((second.source(.google).age ?? 99_999) < 3_600)
        #expect(second.changes.count == 1)
        try await second.stop()
        #expect(server.requests.last?.headers["if-none-match"] == "\"v1\"")
        #expect(second.log.first == "info: cached address list in use until its source answers")
    }

    @Test("a cached list that is current is not sent again")
    func aCachedListThatIsStillTheNewestIsNotSentAgain() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try RawHTTPServer { request, _ in
            request.headers["if-none-match"] == "\"v1\""
                ? .status(304) : .status(200, headers: ["ETag: \"v1\""], google)
        }
        for notModified in [0, 1] as [UInt64] {
            let running = running(.google, server.url, cache: directory)
            try await eventually("the list comes from its source") { running.source(.google).origin == .url }
            try await running.stop()
            #expect(running.source(.google).notModified == notModified)
            #expect(running.changes.count == 1)
            // Each response renews the timestamp of the cached list.
            let cache = RangeCache(directory: directory.path)
            var entry = try #require(try cache.entry(of: .google))
            #expect(entry.fetched > 1000)
            entry.fetched = 1000
            try cache.keep(entry, of: .google)
        }
    }

    @Test("the validators of one URL are not sent to another")
    func anotherURLIsNotAskedWithTheValidatorsOfThisOne() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try RawHTTPServer { _, _ in .status(200, headers: ["ETag: \"v1\""], google) }
        for path in ["/a", "/b"] {
            let running = running(.google, server.url + path, cache: directory)
            try await eventually("the list comes from its source") { running.source(.google).origin == .url }
            try await running.stop()
        }
        #expect(server.requests.map(\.target) == ["/a", "/b"])
        #expect(server.requests.allSatisfy { $0.headers["if-none-match"] == nil })
    }

    @Test(
        "a damaged cached list is ignored and replaced",
        arguments: [
            "", "not a cached list",
            #"{"version":1,"provider":"google","url":"","fetched":1,"bytes":2,"checksum":3}"# + "\n{}",
        ])
    func aDamagedCopyIsIgnoredAndReplaced(content: String) async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write(content, to: "google.ranges")
        let server = try RawHTTPServer { _, _ in .status(200, google) }
        let first = running(.google, server.url, cache: directory)
        try await eventually("the list is loaded") { first.lines.count == 3 }
        try await first.stop()
        #expect(first.log == ["warning: cached address list ignored", "info: address list loaded"])
        let second = running(.google, try RawHTTPServer.closedURL(), cache: directory)
        try await eventually("the cached list is loaded") { second.lines.count == 3 }
        try await second.stop()
    }

    @Test("a cached document that is not a list is ignored") func aCopyThatIsNoListAnyMoreIsIgnored() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try RangeCache(directory: directory.path).keep(
            RangeCache.Entry(
                validators: RangeCache.Validators(url: "x"), fetched: 1, document: Array("{}".utf8)), of: .google)
        let running = running(.google, try RawHTTPServer.closedURL(), cache: directory)
        try await eventually("the fetch has failed") { running.source(.google).failures > 0 }
        try await running.stop()
        #expect(running.changes == [])
        #expect(running.log.first == "warning: cached address list ignored")
    }

    @Test("a list that cannot be cached is used, with a warning")
    func aListThatCannotBeKeptIsInUseAllTheSame() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write("", to: "file")
        let server = try RawHTTPServer { _, _ in .status(200, google) }
        let running = RunningCatalog(
            Configuration(sources: [.google: .url(server.url)], cacheDirectory: directory.path + "/file"))
        try await eventually("the list is loaded") { running.lines.count == 3 }
        try await running.stop()
        #expect(running.source(.google).failures == 0)
        #expect(running.log.contains("warning: cannot write an address list to the cache"))
    }
}

@Suite struct LoadingFromDiskTests {
    @Test("lists on disk are loaded before anything is fetched")
    func whatIsOnDiskIsThereBeforeAnythingElse() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let named = try RangeList(TestLists.azure, of: .azure).ranges
        try directory.write(TestLists.aws, to: "aws.json")
        try RangeCache(directory: directory.path).keep(
            RangeCache.Entry(
                validators: RangeCache.Validators(url: "x"), fetched: 1, document: Array(google.utf8)), of: .google)
        let running = RunningCatalog(
            Configuration(
                sources: [.aws: .file(directory.path + "/aws.json"), .google: .url(try RawHTTPServer.closedURL())],
                namedRanges: named, cacheDirectory: directory.path), starts: false)
        #expect(!running.catalog.statistics.hasTriedAll)
        #expect(running.changes == [])
        running.catalog.loadFromDisk()
        #expect(running.changes.count == 1)
        #expect(running.lines.count == 9)
        #expect(running.source(.aws).origin == .file)
        #expect(running.source(.google).origin == .cache)
        #expect(running.catalog.statistics.hasTriedAll)
        #expect(running.catalog.regions(of: "aws") == ["eu-central-1", "eu-south-1"])

        running.start()
        try await eventually("the fetch from the URL has failed") { running.source(.google).failures > 0 }
        try await running.stop()
        // `run()` does not load the lists a second time.
        #expect(running.changes.count == 1)
        #expect(running.source(.aws).fetches == 1)
        #expect(running.lines.count == 9)
    }

    @Test("every list counts as tried once each has failed") func allIsTriedWhenEachListHasFailed() async throws {
        let silent = try RawHTTPServer { _, _ in .silence }
        let asking = running(.google, silent.url)
        try await eventually("the list is requested") { silent.requests.count == 1 }
        #expect(!asking.catalog.statistics.hasTriedAll)
        try await asking.stop()

        let server = try RawHTTPServer { _, _ in .status(404) }
        let failing = RunningCatalog(
            Configuration(sources: [.aws: .url(server.url + "/aws"), .google: .url(server.url + "/google")]),
            starts: false)
        #expect(!failing.catalog.statistics.hasTriedAll)
        failing.catalog.loadFromDisk()
        #expect(!failing.catalog.statistics.hasTriedAll)
        #expect(failing.changes == [])
        failing.start()
        try await eventually("both fetches have failed") { failing.catalog.statistics.hasTriedAll }
        try await failing.stop()
        #expect(failing.catalog.statistics.sources.count == 2)
        #expect(failing.catalog.statistics.sources.allSatisfy { $0.failures > 0 })
    }

    @Test("each attempt is reported once the statistics include it") func reportedAttempts() async throws {
        let server = try RawHTTPServer { _, _ in .status(404) }
        let hasTried = Mutexed<[Bool]>([])
        let catalog = Mutexed<CloudRangeCatalog?>(nil)
        let made = CloudRangeCatalog(
            configuration: Configuration(sources: [.aws: .url(server.url), .google: .url(server.url)]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            onAttempt: { hasTried.change { $0.append(catalog.value?.statistics.hasTriedAll ?? false) } },
            onChange: { _ in })
        catalog.change { $0 = made }
        let ended = Mutexed(false)
        Thread.detachNewThread {
            made.run()
            ended.change { $0 = true }
        }
        try await eventually("both lists are tried") { hasTried.value.count >= 3 }
        #expect(hasTried.value.prefix(3) == [false, false, true])
        made.stop()
        try await eventually("the catalog stops") { ended.value }
        catalog.change { $0 = nil }
    }

    @Test("a missing file counts as tried") func aFileThatIsMissingCountsAsTried() {
        let running = RunningCatalog(
            Configuration(sources: [.google: .file("/nowhere/goog.json")]), starts: false)
        running.catalog.loadFromDisk()
        #expect(running.catalog.statistics.hasTriedAll)
        #expect(running.changes == [])
        #expect(RunningCatalog(Configuration(sources: [:]), starts: false).catalog.statistics.hasTriedAll)
    }
}

@Suite struct ListFileTests {
    private func running(_ path: String) -> RunningCatalog {
        RunningCatalog(Configuration(sources: [.google: .file(path)], fileCheckInterval: .milliseconds(20)))
    }

    @Test("a file is read, and read again when it changes") func aFileIsReadAndReadAgainWhenItChanges() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write(google, to: "goog.json")
        let running = running(directory.path + "/goog.json")
        try await eventually("the list is loaded") { running.lines.count == 3 }
        #expect(running.source(.google).origin == .file)
        try directory.write(TestLists.google.replacing("8.8.8", with: "8.8.4"), to: "goog.json")
        try await eventually("the new list is in use") { running.lines.first == "8.8.4.0/24 gcp global googleservice" }
        try await running.stop()
        #expect(running.changes.count == 2)
        #expect(running.source(.google).fetches == 2)
        #expect(running.log == ["info: address list loaded"])
    }

    @Test("a bad or missing file leaves the last good list in use")
    func aBadFileLeavesTheLastGoodListInUse() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write(google, to: "goog.json")
        let running = running(directory.path + "/goog.json")
        try await eventually("the list is loaded") { running.lines.count == 3 }
        try directory.write("{}", to: "goog.json")
        try await eventually("the file is rejected three times") { running.source(.google).failures >= 3 }
        #expect(running.source(.google).lastError?.contains("expected list") == true)
        // The unchanged file was not read again.
        #expect(running.source(.google).fetches == 2)
        try FileManager.default.removeItem(atPath: directory.path + "/goog.json")
        try await eventually("the missing file is reported") {
            running.source(.google).lastError == "\(directory.path)/goog.json: No such file or directory"
        }
        #expect(running.source(.google).prefixes == 3)
        try directory.write(google, to: "goog.json")
        try await eventually("the file is accepted again") { running.source(.google).lastError == nil }
        try await running.stop()
        #expect(running.changes.count == 1)
        #expect(
            running.log == [
                "info: address list loaded",
                "warning: cannot refresh an address list; the last good one stays in use",
                "info: address list loaded",
            ])
    }

    @Test("the age of a list in a file is that of the file") func anOldFileIsOld() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try directory.write(google, to: "goog.json")
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -864_000)], ofItemAtPath: directory.path + "/goog.json")
        let running = running(directory.path + "/goog.json")
        try await eventually("the list is loaded") { running.lines.count == 3 }
        try await running.stop()
        let age = try #require(running.source(.google).age)
        #expect(age >= 864_000 - 1 && age < 864_000 + 3_600)
    }

    @Test("a file that is created later is found") func aFileThatComesLaterIsFound() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let running = running(directory.path + "/goog.json")
        try await eventually("the missing file is noticed twice") { running.source(.google).failures > 1 }
        #expect(running.source(.google).successes == 0)
        #expect(running.source(.google).fetches == 0)
        try directory.write(google, to: "goog.json")
        try await eventually("the list is loaded") { running.lines.count == 3 }
        try await running.stop()
        #expect(running.source(.google).successes > 0)
    }

    @Test("a pipe in place of a file is an error, also while a writer keeps it open") func pipe() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = directory.path + "/goog.json"
        #expect(mkfifo(path, 0o600) == 0)
        // Opened for reading too, the pipe can be opened without another reader.
        let writer = try #require(FileHandle(forUpdatingAtPath: path))
        try writer.write(contentsOf: Data(google.utf8))
        let running = running(path)
        try await eventually("the pipe is rejected") { running.source(.google).failures > 0 }
        #expect(running.source(.google).lastError == "\(path): it is not a regular file")
        // The catalog's thread does not wait for the pipe.
        try await running.stop()
        try writer.close()
    }

    @Test("a directory in place of a file is an error") func aDirectoryIsNoFile() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let running = running(directory.path)
        try await eventually("the directory is rejected") { running.source(.google).failures > 0 }
        #expect(running.source(.google).lastError == "\(directory.path): Is a directory")
        try await running.stop()
    }
}

@Suite struct DatedListTests {
    /// Returns the day in the format of the server's URL.
    private static func day(_ daysAgo: Int) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyyMMdd"
        return formatter.string(from: Date(timeIntervalSinceNow: -86_400 * Double(daysAgo)))
    }

    @Test("a dated URL is tried from today backwards until the newest list is found")
    func theNewestListIsFound() async throws {
        let published = "/Tags_\(Self.day(9)).json"
        let server = try RawHTTPServer { request, _ in
            request.target == published
                ? request.headers["if-none-match"] == "\"v1\""
                    ? .status(304) : .status(200, headers: ["ETag: \"v1\""], TestLists.azure)
                : .status(404, "<html>not found</html>")
        }
        let running = running(.azure, server.url + "/Tags_YYYYMMDD.json", refreshInterval: .milliseconds(50))
        try await eventually("the list is loaded and verified as current") { running.source(.azure).notModified > 0 }
        try await running.stop()
        #expect(running.source(.azure).prefixes == 3)
        #expect(running.source(.azure).failures == 0)
        #expect(running.changes.count == 1)
        // All days are requested over one connection.
        #expect(server.connections == 1)
        let firstRound = server.requests.prefix { $0.target != published }.map(\.target)
        #expect(firstRound == firstRound.sorted(by: >))
        // Today and the eight days before, or nine if midnight has passed since.
        #expect(9...10 ~= firstRound.count)
    }

    @Test("a list published in the middle of a week replaces an older one")
    func aListOfTheMiddleOfAWeekReplacesThatOfItsMonday() async throws {
        // 1970-01-01 was a Thursday.
        let monday = (Int(Date().timeIntervalSince1970) / 86_400 + 3) % 7 + 7
        let days = (monday: "/\(Self.day(monday))", thursday: "/\(Self.day(monday - 3))")
        let server = try RawHTTPServer { request, number in
            switch request.target {
            case days.monday: .status(200, TestLists.azure)
            case days.thursday where number > 31: .status(200, TestLists.azure.replacing("4.145.74", with: "4.145.75"))
            default: .status(404)
            }
        }
        let running = running(.azure, server.url + "/YYYYMMDD", refreshInterval: .milliseconds(20))
        try await eventually("the later list is in use") {
            running.lines.contains("4.145.75.52/30 azure westeurope actiongroup")
        }
        try await running.stop()
        #expect(running.changes.count == 2)
    }

    /// Responses of mirrors for a day without a list.
    @Test(
        "a mirror may return any response for days without a list",
        arguments: [
            RawHTTPServer.Answer.status(403, "<Error><Code>AccessDenied</Code></Error>"),
            .status(200, headers: ["Content-Type: text/html"], "<!doctype html><title>Not found</title>"),
            .status(302, headers: ["Location: http://127.0.0.1/missing"]), .status(301), .status(410), .status(400),
            .status(200, "{\"error\": \"no such file\"}"), .status(200),
            .status(200, String(TestLists.azure.dropLast(9))),
        ])
    func aMirrorMayAnswerInItsOwnWayForDaysWithoutAList(answer: RawHTTPServer.Answer) async throws {
        let published = "/Tags_\(Self.day(4)).json"
        let server = try RawHTTPServer { request, _ in
            request.target == published ? .status(200, TestLists.azure) : answer
        }
        let finding = running(.azure, server.url + "/Tags_YYYYMMDD.json")
        try await eventually("the list is loaded") { finding.source(.azure).prefixes == 3 }
        try await finding.stop()
        #expect(finding.source(.azure).failures == 0)
        // For a mirror without any list, the error contains its response.
        let empty = try RawHTTPServer { _, _ in answer }
        let searching = running(.azure, empty.url + "/YYYYMMDD")
        try await eventually("the search has failed") { searching.source(.azure).failures > 0 }
        try await searching.stop()
        let error = searching.source(.azure).lastError ?? ""
        #expect(error.contains("last 30 days; today's URL: ") && !error.hasSuffix(": "))
    }

    @Test("a list in use is never replaced by an older one")
    func aListThatIsInUseGivesWayToNoOlderOne() async throws {
        let (newer, older) = ("/\(Self.day(4))", "/\(Self.day(11))")
        let isClosed = Mutexed(false)
        let server = try RawHTTPServer { request, _ in
            switch request.target {
            case newer where !isClosed.value: .status(200, TestLists.azure)
            case older: .status(200, TestLists.azure.replacing("4.145.74", with: "4.145.75"))
            default: .status(200, "<html>closed for maintenance</html>")
            }
        }
        let running = running(.azure, server.url + "/YYYYMMDD", refreshInterval: .milliseconds(20))
        try await eventually("the list is loaded") { running.source(.azure).successes > 0 }
        isClosed.change { $0 = true }
        try await eventually("a fetch has failed") { running.source(.azure).failures > 0 }
        try await running.stop()
        #expect(running.changes.count == 1)
        #expect(running.lines.contains("4.145.74.52/30 azure westeurope actiongroup"))
    }

    @Test("a status 503 ends the search for a dated list")
    func anotherFailureThanAMissingDayEndsTheSearch() async throws {
        let server = try RawHTTPServer { _, number in
            number < 2 ? .status(404) : .status(503, headers: ["Retry-After: 9"])
        }
        let running = running(.azure, server.url + "/YYYYMMDD")
        try await eventually("the fetch has failed") { running.source(.azure).failures > 0 }
        #expect(running.source(.azure).lastError == "the server answered with status 503")
        try await running.stop()
        // Every attempt ends with its first 503.
        #expect(server.requests.count == 2 + Int(running.source(.azure).failures))
    }

    @Test("a search that finds no list for any day is a failure") func aSearchInVainIsAFailure() async throws {
        let server = try RawHTTPServer { _, _ in .status(404) }
        let running = running(.azure, server.url + "/YYYYMMDD")
        try await eventually("the search has failed") { running.source(.azure).failures > 0 }
        try await running.stop()
        #expect(running.source(.azure).lastError?.contains("last 30 days") == true)
        #expect(server.requests.count >= 31)
    }

    @Test("changed sources and ranges take effect while the catalog runs")
    func otherListsAndRangesAreTakenWhileItRuns() async throws {
        let server = try RawHTTPServer { request, _ in
            request.target == "/broken" ? .status(500) : .status(200, request.target == "/aws" ? TestLists.aws : google)
        }
        let running = running(.google, "\(server.url)/google")
        try await eventually("the list is loaded") { running.changes.count == 1 }
        let named = CloudRange(
            prefix: try #require(IPPrefix("198.51.100.0/24")), place: CloudPlace(cloud: "office"))
        running.catalog.apply(
            sources: [.google: .url("\(server.url)/google"), .aws: .url("\(server.url)/aws")], namedRanges: [named])
        try await eventually("both lists and the range are in use") {
            running.lines.contains { $0.contains(" office") } && running.lines.contains { $0.contains(" aws ") }
                && running.lines.contains { $0.contains("googleservice") }
        }
        #expect(server.requests.count { $0.target == "/google" } == 1)
        // A list with a new origin stays in use until it has been loaded from there; a removed one goes at once.
        running.catalog.apply(sources: [.google: .url("\(server.url)/broken")], namedRanges: [])
        try await eventually("the fetch from the new URL has failed") { running.source(.google).failures > 0 }
        #expect(running.lines.allSatisfy { $0.contains("googleservice") } && !running.lines.isEmpty)
        running.catalog.apply(sources: [:], namedRanges: [])
        try await eventually("no range is left") { running.lines.isEmpty }
        running.catalog.apply(sources: [.aws: .url("\(server.url)/aws")], namedRanges: [])
        try await eventually("a list is loaded again") { running.lines.contains { $0.contains(" aws ") } }
        try await running.stop()
    }
}
