// SPDX-License-Identifier: Apache-2.0

import CDescriptorPassing
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import InstanceLock

/// Runs `body` on its own thread from now on, no matter how busy the threads of all tasks are.
private struct Background<Value: Sendable> {
    private let results: AsyncStream<Result<Value, any Error>>

    init(_ body: @escaping @Sendable () throws -> Value) {
        let (results, continuation) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
        self.results = results
        Thread {
            continuation.yield(Result { try body() })
            continuation.finish()
        }.start()
    }

    /// The result of `body`.
    var value: Value {
        get async throws {
            for await result in results { return try result.get() }
            throw TestEnvironmentError("the task was cancelled")
        }
    }
}

private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await Background(body).value
}

/// A pipe whose reading end stands for the event socket, and whose content stands for waiting events.
private struct Pipe {
    let reader: Descriptor
    let writer: Descriptor

    init() throws {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw TestEnvironmentError("pipe failed") }
        (reader, writer) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    func write(_ text: String) { _ = text.withCString { Glibc.write(writer.number, $0, strlen($0)) } }
}

private func read(_ descriptor: Descriptor) -> String {
    var bytes = [UInt8](repeating: 0, count: 100)
    let count = Glibc.read(descriptor.number, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
}

/// Returns a configuration with a lock name of the test.
private func configuration(
    _ name: String, workload: String = "a/b", _ change: (inout LockTimes) -> Void = { _ in }
) -> LockConfiguration {
    var configuration = LockConfiguration(
        name: name, workload: workload, makeProof: { try Pipe().reader },
        isEventSocket: { descriptor in
            var status = stat()
            return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
        })
    change(&configuration.times)
    return configuration
}

private func uniqueName() -> String { "kubenetmon-test-\(UUID().uuidString)" }

/// Acquires the lock, which must be free.
private func take(_ configuration: LockConfiguration) throws -> InstanceLock {
    guard case .lock(let lock)? = try LockSearch(configuration, for: .start).run() else {
        throw TestEnvironmentError("the lock is not free")
    }
    return lock
}

/// Runs a search to its end.
private func search(
    _ configuration: LockConfiguration, for purpose: LockSearch.Purpose = .start
) async throws -> LockSearch.Found? {
    try await onThread { try LockSearch(configuration, for: purpose).run() }
}

/// Serves until a successor holds the lock. Offers `events` for every request, as an agent does turn after turn.
private func serve(_ lock: InstanceLock, offering events: Descriptor) -> Background<InstanceLock.Outcome> {
    Background {
        while true {
            var isAsked = false
            let outcome = lock.serve { event in
                guard case .successor = event else { return }
                isAsked = true
                lock.offer(events)
            }
            if outcome == .handedOver || !isAsked { return outcome }
        }
    }
}

/// A peer whose messages the test controls.
private struct RawPeer {
    let socket: LockSocket

    /// Connects as soon as there is room.
    static func connect(_ name: String) async throws -> RawPeer {
        var socket: LockSocket?
        try await eventually("the lock's socket accepts the connection") {
            socket = try LockSocket.connect(name)
            return socket != nil
        }
        guard let socket else { throw TestEnvironmentError("the lock's socket is not connected") }
        return RawPeer(socket: socket)
    }

    func send(_ bytes: [UInt8], _ descriptors: [Descriptor] = []) -> Bool {
        let numbers = descriptors.map(\.number)
        return withExtendedLifetime(descriptors) {
            kubenetmon_send_with_descriptors(socket.descriptor.number, bytes, bytes.count, numbers, numbers.count) == 0
        }
    }

    func receive() async throws -> (kind: LockMessage.Kind, descriptors: [Descriptor])? {
        while true {
            switch socket.receive() {
            case .message(let message, let descriptors): return (message.kind, descriptors)
            case .unreadable, .end: return nil
            case .nothing: try await Task.sleep(for: .milliseconds(5))
            }
        }
    }
}

@Suite struct InstanceLockTests {
    @Test("a successor gets the lock and the event socket with its unread events")
    func handover() async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        pipe.write("one")
        let outcome = serve(lock, offering: pipe.reader)
        let found = try await search(configuration)
        guard case .successor(let next, let events)? = found else {
            Issue.record("no successor was found: \(String(describing: found))")
            return
        }
        #expect(try await outcome.value == .handedOver)
        pipe.write("two")
        #expect(read(events) == "onetwo")
        // The successor now has the name: a peer that connects sees its process, and it serves.
        let peer = try await RawPeer.connect(configuration.name)
        #expect(LockPeer(of: peer.socket.descriptor.number) == LockPeer(process: getpid(), user: geteuid()))
        let second = serve(next, offering: events)
        let again = try await search(configuration)
        guard case .successor? = again else {
            Issue.record("no second successor was found")
            return
        }
        #expect(try await second.value == .handedOver)
    }

    @Test("two successors get the lock one after the other, and no event is lost")
    func twoSuccessors() async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        pipe.write("events")
        let first = serve(lock, offering: pipe.reader)
        let acquired = Mutex<[InstanceLock]>([])
        let follow = { @Sendable () async throws -> InstanceLock.Outcome in
            guard case .successor(let next, let events)? = try await search(configuration) else {
                throw TestEnvironmentError("no successor was found")
            }
            acquired.withLock { $0.append(next) }
            return try await serve(next, offering: events).value
        }
        async let second = follow()
        async let third = follow()
        try await eventually("both successors have held the lock") { acquired.withLock { $0.count } == 2 }
        acquired.withLock { $0.last }?.offer(nil)
        #expect(try await [second, third].filter { $0 == .handedOver }.count == 1)
        #expect(try await first.value == .handedOver)
        #expect(read(pipe.reader) == "events")
    }

    @Test("an agent of another workload waits and is rejected with the holder's process, and the holder goes on")
    func refusal() async throws {
        let name = uniqueName()
        let (lock, pipe) = (try take(configuration(name)), try Pipe())
        let reports = Mutex<[String]>([])
        let outcome = Background {
            lock.serve { event in
                if case .otherAgent(let peer, let workload) = event {
                    reports.withLock { $0.append("\(peer) \(workload)") }
                }
            }
        }
        let begin = ContinuousClock.now
        await #expect(
            throws: Refusal(
                peer: LockPeer(process: getpid(), user: geteuid()), workload: "a/b", reason: .running)
        ) {
            _ = try await search(configuration(name, workload: "c/d") { $0.otherAgent = .milliseconds(200) })
        }
        #expect(ContinuousClock.now - begin >= .milliseconds(200))
        #expect(reports.withLock { $0 } == ["process \(getpid()) of user \(geteuid()) c/d"])
        lock.offer(pipe.reader)
        #expect(try await outcome.value == .kept)
    }

    @Test("an agent on standby gets the lock from a holder that shuts down")
    func standBy() async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        let found = Background { try LockSearch(configuration, for: .standBy).run() }
        lock.stop()
        // The search may not have sent its request yet.
        var outcome = InstanceLock.Outcome.kept
        while outcome == .kept {
            outcome = try await onThread {
                usleep(10_000)
                lock.offer(pipe.reader)
                return lock.serve { _ in }
            }
        }
        guard case .successor? = try await found.value else {
            Issue.record("no successor was found")
            return
        }
    }

    @Test(
        "a holder keeps everything if its successor ends or does not confirm",
        arguments: [true, false])
    func unconfirmed(ends: Bool) async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        let outcome = Background {
            lock.serve { event in
                if case .successor = event { lock.offer(pipe.reader) }
            }
        }
        var peer: RawPeer? = try await RawPeer.connect(configuration.name)
        #expect(peer?.send(LockMessage(.takeOver, workload: "a/b").bytes, [try Pipe().reader]) == true)
        #expect(try await peer?.receive()?.kind == .leaving)
        let grant = try #require(try await peer?.receive())
        #expect(grant.kind == .grant && grant.descriptors.count == 2)
        if ends { peer = nil }
        #expect(try await outcome.value == .kept)
        #expect(peer?.send(LockMessage(.confirm, workload: "a/b").bytes) != true)
        // The holder keeps serving.
        let next = serve(lock, offering: pipe.reader)
        guard case .successor? = try await search(configuration) else {
            Issue.record("no successor was found")
            return
        }
        #expect(try await next.value == .handedOver)
    }

    @Test("a successor that is gone before its request is read does not block the next one")
    func goneSuccessor() async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        do {
            let gone = try await RawPeer.connect(configuration.name)
            #expect(gone.send(LockMessage(.takeOver, workload: "a/b").bytes, [try Pipe().reader]))
        }
        let outcome = serve(lock, offering: pipe.reader)
        guard case .successor? = try await search(configuration) else {
            Issue.record("no successor was found")
            return
        }
        #expect(try await outcome.value == .handedOver)
    }

    @Test(
        "the lock is free at once if the holder ends during a handover",
        arguments: [LockSearch.Purpose.start, .standBy])
    func holderEnds(purpose: LockSearch.Purpose) async throws {
        let configuration = configuration(uniqueName())
        let listener = Mutex(try LockSocket.listen(configuration.name))
        let holder = Background {
            var connections: [LockSocket] = []
            while true {
                if let connection = listener.withLock({ try? $0?.accept() }) { connections.append(connection) }
                for connection in connections {
                    guard case .message(let request, _) = connection.receive() else { continue }
                    _ = connection.send(LockMessage(purpose == .start ? .leaving : .wait, workload: "a/b"))
                    // The holder is gone, with all of its descriptors.
                    listener.withLock { $0 = nil }
                    return request.kind
                }
                usleep(1000)
            }
        }
        let found = Background { try LockSearch(configuration, for: purpose).run() }
        #expect(try await holder.value == (purpose == .start ? .takeOver : .standBy))
        guard case .lock? = try await found.value else {
            Issue.record("the lock is not free")
            return
        }
    }

    @Test("invalid requests do not affect the holder, and a successor is still served")
    func nonsense() async throws {
        let (configuration, pipe) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        let outcome = serve(lock, offering: pipe.reader)
        let good = LockMessage(.takeOver, workload: "a/b").bytes
        let proof = try Pipe().reader
        let file = Descriptor(owning: open("/dev/null", O_RDONLY | O_CLOEXEC))
        var other = good
        other[8] = 9
        for (bytes, descriptors) in [
            ([0], []), ([UInt8](repeating: 0xff, count: 100_000), []), (Array(good.prefix(20)), []), (good + good, []),
            (other, [proof]), (good, []), (good, [file]), (good, [proof, proof]),
            (LockMessage(.confirm, workload: "a/b").bytes, [proof]),
            (LockMessage(.grant, workload: "a/b").bytes, [proof, proof]), (Array(good.prefix(1)), [proof]),
        ] as [([UInt8], [Descriptor])] {
            let peer = try await RawPeer.connect(configuration.name)
            #expect(peer.send(bytes, descriptors))
            #expect(try await peer.receive() == nil)
        }
        // Silent peers, more than there is room for.
        var silent: [RawPeer] = []
        while silent.count < 20, let socket = try LockSocket.connect(configuration.name) {
            silent.append(RawPeer(socket: socket))
        }
        #expect(silent.count >= LockHolder.maximumPeers)
        guard case .successor(_, let events)? = try await search(configuration)
        else {
            Issue.record("no successor was found")
            return
        }
        #expect(try await outcome.value == .handedOver)
        pipe.write("here")
        #expect(read(events) == "here")
    }

    @Test("the holder closes descriptors that do not belong to a message")
    func descriptorsAreClosed() async throws {
        let (configuration, events) = (configuration(uniqueName()), try Pipe())
        let lock = try take(configuration)
        let outcome = Background { lock.serve { _ in } }
        var ends: [CInt] = [-1, -1]
        #expect(pipe(&ends) == 0)
        let reader = Descriptor(owning: ends[0])
        do {
            let writer = Descriptor(owning: ends[1])
            for kind in [LockMessage.Kind.takeOver, .grant, .wait] {
                let peer = try await RawPeer.connect(configuration.name)
                #expect(peer.send(LockMessage(kind, workload: "").bytes, [writer, writer]))
                #expect(try await peer.receive() == nil)
            }
        }
        // End of file: no process has the writing end any more.
        #expect(try await onThread { read(reader) } == "")
        lock.offer(events.reader)
        #expect(try await outcome.value == .kept)
    }

    @Test(
        "a name held by another program delays the start for a bounded time, and the lock is taken once it is free",
        arguments: [false, true])
    func squatters(answers: Bool) async throws {
        let configuration = configuration(uniqueName()) {
            ($0.squatter, $0.retry) = (.milliseconds(200), .milliseconds(50))
            // A squatter that answers must be heard, however busy the machine.
            if !answers { $0.answer = .milliseconds(100) }
        }
        let squatter = Mutex(try LockSocket.listen(configuration.name))
        let connections = Mutex<[LockSocket]>([])
        let begin = ContinuousClock.now
        let answering = Background {
            while !squatter.withLock({ $0 == nil }) {
                usleep(2000)
                guard let connection = squatter.withLock({ try? $0?.accept() }) else { continue }
                if answers { _ = RawPeer(socket: connection).send(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)) }
                connections.withLock { $0.append(connection) }
            }
        }
        guard case .squatter(let what, let lock)? = try await search(configuration) else {
            Issue.record("no squatter was found")
            return
        }
        #expect(ContinuousClock.now - begin >= .milliseconds(200))
        let process = LockPeer(process: getpid(), user: geteuid())
        #expect(what == Squatter(peer: process, reason: answers ? .nonsense : .silent))
        squatter.withLock { $0 = nil }
        try await answering.value
        let hasAcquired = Atomic(false)
        let outcome = Background {
            lock.serve { event in
                if case .acquired = event { hasAcquired.store(true, ordering: .relaxed) }
            }
        }
        try await eventually("the lock is acquired") { hasAcquired.load(ordering: .relaxed) }
        #expect(try LockSocket.listen(configuration.name) == nil)
        lock.offer(nil)
        #expect(try await outcome.value == .kept)
    }

    @Test("a peer of another user is not accepted as an agent, on both sides")
    func otherUser() async throws {
        var stranger = configuration(uniqueName()) { $0.squatter = .milliseconds(200) }
        let lock = try take(stranger)
        let outcome = Background { lock.serve { _ in } }
        stranger.user += 1
        guard case .squatter(let squatter, _)? = try await search(stranger)
        else {
            Issue.record("no squatter was found")
            return
        }
        #expect(squatter.reason == .otherUser)
        lock.offer(nil)
        #expect(try await outcome.value == .kept)
    }

    @Test("an interrupted search ends")
    func interruption() async throws {
        let configuration = configuration(uniqueName())
        let listener = try LockSocket.listen(configuration.name)
        let search = try LockSearch(configuration, for: .standBy)
        let found = Background { try search.run() }
        search.interrupt()
        guard case .none = try await found.value else {
            Issue.record("the search returned a result")
            return
        }
        withExtendedLifetime(listener) {}
    }
}
