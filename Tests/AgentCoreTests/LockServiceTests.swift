// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import FlowExport
import FlowWire
import Foundation
import Logging
import NIOPosix
import ServiceLifecycle
import TestSupport
import Testing

@testable import AgentCore
@testable import InstanceLock

/// The service of the lock in this process, with times to wait for others that are shorter than an agent's.
@Suite struct LockServiceTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private struct IdleService: Service {
        func run() async throws { try? await gracefulShutdown() }
    }

    private func service(_ lock: LockConfiguration, _ selfCheck: SelfCheck) -> LockService {
        let exporter = FlowExporter(
            configuration: FlowExporter.Configuration(host: "127.0.0.1", port: 1),
            hello: Hello(nodeName: "node-a", agentID: .random(), softwareVersion: "test"),
            group: .singletonMultiThreadedEventLoopGroup, logger: Self.quiet)
        return LockService(
            lock, group: .singletonMultiThreadedEventLoopGroup, exporter: exporter, selfCheck: selfCheck,
            logger: Self.quiet
        ) { _ in LockService.Turn(services: [IdleService()], duplicateEventSocket: { nil }) }
    }

    @Test("a process of another user that holds the lock's name is named, and the lock is taken once the name is free")
    func squatter() async throws {
        let name = "kubenetmon-test-\(UUID().uuidString)"
        let squatter = try ChildProcess(
            URL(filePath: "/usr/bin/env"),
            [
                "setpriv", "--reuid=65534", "--clear-groups", "socat", "-u",
                "ABSTRACT-LISTEN:\(name),socktype=5,fork", "OPEN:/dev/null",
            ])
        try await eventually("the squatter listens") { try await ChildProcess.shell("ss -xl").contains("@\(name)") }
        var lock = LockConfiguration(
            workload: "a/b", makeProof: { throw TestEnvironmentError("a squatter gets no proof") },
            isEventSocket: { _ in false })
        lock.name = name
        (lock.times.squatter, lock.times.retry) = (.milliseconds(200), .milliseconds(20))
        let selfCheck = SelfCheck(
            conditions: [.instanceLock], uptimeWait: .zero, neverCounted: nil, logger: Self.quiet)
        let group = ServiceGroup(services: [service(lock, selfCheck)], logger: Self.quiet)
        async let running: Void = group.run()
        try await eventually("the squatter is reported") { selfCheck.problems[.instanceLock] != nil }
        let holder = "process \(squatter.processIdentifier) of user 65534, which runs as another user"
        #expect(selfCheck.problems[.instanceLock]?.contains("@\(name), is held by \(holder)") == true)
        squatter.signal(SIGKILL)
        try await eventually("the lock is taken") { selfCheck.problems[.instanceLock] == nil }
        let sockets = try await ChildProcess.shell("ss -xlp").split(separator: "\n")
        #expect(sockets.contains { $0.contains("@\(name)") && $0.contains("pid=\(getpid()),") })
        await group.triggerGracefulShutdown()
        try await running
    }
}
