// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import Logs
@testable import Operations

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A service that runs `body`; the static members make services that stop in order, fail or ignore every signal.
private struct TestService: Service, CustomStringConvertible {
    let description: String
    let body: @Sendable () async throws -> Void

    func run() async throws { try await body() }

    static func orderly(_ name: String, _ log: LinesOfLog) -> Self {
        Self(description: name) {
            try? await gracefulShutdown()
            log.add("\(name) stops")
        }
    }

    static func failing(_ error: String, when: @escaping @Sendable () async -> Void = {}) -> Self {
        Self(description: "failing") {
            await when()
            throw TestEnvironmentError(error)
        }
    }

    /// Ignores both shutdown and cancellation.
    static let deaf = Self(description: "deaf") {
        await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
    }
}

/// Collects log lines and lines that tests add.
private final class LinesOfLog: Sendable {
    private let lines = Mutex<[String]>([])

    func add(_ line: String) { lines.withLock { $0.append(line) } }

    var all: [String] { lines.withLock { $0 } }

    var logger: Logger {
        let log = DaemonLog(
            level: .info, isJSON: false, now: { .zero }, write: { self.add($0) })
        return log.makeLogger("test")
    }
}

/// A shutdown whose limits a busy machine does not reach: at a limit, the process of all tests would exit.
private func patient(_ logger: Logger) -> DaemonEnd {
    var bounds = DaemonEnd.Bounds(shutdownTimeout: .seconds(3600))
    bounds.failure = .seconds(3600)
    return DaemonEnd(bounds, logger)
}

@Suite struct DaemonTests {
    @Test("if a service fails, the reason is logged at once and the others stop in reverse order", arguments: 0...2)
    func failure(place: Int) async throws {
        let log = LinesOfLog()
        var services = ["a", "b"].map { TestService.orderly($0, log) }
        services.insert(.failing("the disk is gone"), at: place)
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: patient(log.logger), log.logger)
        }
        #expect(log.all.count == 3)
        #expect(log.all[0].contains("the disk is gone") && log.all[0].contains("service=failing"))
        #expect(log.all.dropFirst() == ["b stops", "a stops"])
    }

    @Test("services that do not stop in time are cancelled, and the daemon has failed", .timeLimit(.minutes(1)))
    func lateShutdown() async throws {
        var bounds = DaemonEnd.Bounds(shutdownTimeout: .zero)
        (bounds.shutdown, bounds.cancellation) = (.milliseconds(100), .seconds(3600))
        let end = DaemonEnd(bounds, quiet)
        let (cancelled, cancel) = AsyncStream.makeStream(of: Void.self)
        end.onDeadline { cancel.finish() }
        end.shutdownBegins()
        for await _ in cancelled {}
        #expect(!end.disarm())
    }

    @Test("a service that ends without a request is a failure")
    func unexpectedEnd() async throws {
        let log = LinesOfLog()
        let services: [any Service] = [
            TestService.orderly("a", log), TestService(description: "short") {},
        ]
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: patient(log.logger), log.logger)
        }
        #expect(log.all.count == 2 && log.all[0].contains("service=short"))
    }

    @Test(
        "if a part of a service fails, it is logged once, and all others stop in reverse order")
    func failingPart() async throws {
        let log = LinesOfLog()
        let services: [any Service] = [
            TestService.orderly("a", log),
            TestService(description: "whole") {
                let parts = [TestService.orderly("b", log), .failing("the disk is gone"), .orderly("c", log)]
                try await Daemon.makeGroup(parts, logger: log.logger).run()
            },
        ]
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: patient(log.logger), log.logger)
        }
        #expect(log.all.count == 4)
        #expect(log.all[0].contains("the disk is gone") && log.all[0].contains("service=failing"))
        #expect(log.all.dropFirst() == ["c stops", "b stops", "a stops"])
    }

    @Test("the end of a part sets no deadline for the daemon")
    func endOfAPart() async throws {
        let log = LinesOfLog()
        var bounds = DaemonEnd.Bounds(shutdownTimeout: .zero)
        (bounds.shutdown, bounds.cancellation) = (.zero, .zero)
        let whole = TestService(description: "whole") {
            let parts = Daemon.makeGroup([TestService.orderly("part", log)], logger: log.logger)
            await parts.triggerGracefulShutdown()
            try await parts.run()
            try await Task.sleep(for: .milliseconds(50))
            throw TestEnvironmentError("the service failed")
        }
        bounds.failure = .seconds(3600)
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run([whole], until: DaemonEnd(bounds, log.logger), log.logger)
        }
        #expect(log.all.count == 2 && log.all[0] == "part stops" && log.all[1].contains("the service failed"))
    }

    @Test("services that react only to cancellation are cancelled after a failure")
    func cancellation() async throws {
        let log = LinesOfLog()
        let services: [any Service] = [
            TestService.failing("first"), TestService(description: "busy") { try await Task.sleep(for: .seconds(600)) },
        ]
        var bounds = DaemonEnd.Bounds(shutdownTimeout: .seconds(3600))
        (bounds.failure, bounds.cancellation) = (.milliseconds(100), .seconds(3600))
        await #expect(throws: Daemon.Failure.self) {
            try await Daemon.run(services, until: DaemonEnd(bounds, log.logger), log.logger)
        }
        #expect(log.all.count == 2 && log.all[1].contains("busy"))
    }

    @Test("a process whose service cannot be stopped exits with 1 after a failure")
    func deafService() async throws {
        await #expect(processExitsWith: .exitCode(1)) {
            var bounds = DaemonEnd.Bounds(shutdownTimeout: .seconds(3600))
            (bounds.failure, bounds.cancellation) = (.milliseconds(100), .milliseconds(100))
            try await Daemon.run(
                [TestService.deaf, TestService.failing("first")], until: DaemonEnd(bounds, quiet), quiet)
        }
    }

    @Test("shutdown takes at most 5 s after a failure, and less than the manifests' grace period after SIGTERM")
    func bounds() {
        let bounds = DaemonEnd.Bounds(shutdownTimeout: .seconds(15))
        #expect(bounds.failure + bounds.cancellation < .seconds(5))
        #expect(bounds.shutdown + bounds.cancellation < .seconds(30))
    }

    @Test("a process whose service cannot be stopped exits with 1 after SIGTERM")
    func deafServiceAfterSIGTERM() async throws {
        await #expect(processExitsWith: .exitCode(1)) {
            let ready = TestService(description: "ready") {
                kill(getpid(), SIGTERM)
                try? await gracefulShutdown()
            }
            var bounds = DaemonEnd.Bounds(shutdownTimeout: .zero)
            (bounds.shutdown, bounds.cancellation) = (.milliseconds(100), .milliseconds(100))
            try await Daemon.run([TestService.deaf, ready], until: DaemonEnd(bounds, quiet), quiet)
        }
    }

    @Test("the limit on open files is raised to the hard limit")
    func fileDescriptors() async throws {
        // In a process of its own: Foundation's `Process` crashes if the limit changes while it runs.
        await #expect(processExitsWith: .success) {
            var limit = rlimit()
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
            getrlimit(resource, &limit)
            limit.rlim_cur = limit.rlim_max / 2
            setrlimit(resource, &limit)
            let raised = FileDescriptorLimit.raise()
            getrlimit(resource, &limit)
            precondition(limit.rlim_cur == limit.rlim_max && raised == Int(clamping: limit.rlim_max))
        }
    }
}
