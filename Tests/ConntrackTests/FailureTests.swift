// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Conntrack

/// The flows reported by two collections, the first of which is disturbed.
private struct TwoCollections {
    let before: Set<Flow>
    var first: [Flow] = []
    var second: [Flow] = []
    var saw: [ConntrackTable.Collection] = []
    var error: ConntrackError?
    let after: Set<Flow>

    /// Creates a mixed table and collects it twice. `disturb` is called as soon as the first collection has reported a
    /// flow, with a forger for the dump's socket and the sequence number of its request; `calm` is called when that
    /// collection has ended.
    init(_ mode: ConntrackTable.Mode, disturb: (Forger, UInt32) -> Void, calm: () -> Void = {}) throws {
        try Traffic.addAddresses()
        try Traffic.makeMixedTable()
        before = try flowsOfTheTable()
        var table = try ConntrackTable(mode: mode)
        Forger.lowerGuard(of: table.socket.descriptor)
        let forger = try Forger(for: table.socket.descriptor)
        let sequence = table.sequence &+ 1
        var flows: [Flow] = []
        let (collection, error) = table.collect(FlowFilter()) { flow in
            if flows.isEmpty { disturb(forger, sequence) }
            flows.append(flow)
        }
        calm()
        first = flows
        self.error = error
        saw.append(collection)
        flows = []
        let (rest, secondError) = table.collect(FlowFilter()) { flows.append($0) }
        if let secondError { throw secondError }
        second = flows
        saw.append(rest)
        after = try flowsOfTheTable()
    }

    /// Expects each entry to have been reported once and completely, except for what a zeroing dump loses at message
    /// boundaries.
    func expectNothingLost(in mode: ConntrackTable.Mode) {
        let reported = first + second
        let boundaryHits = saw.reduce(0) { $0 + $1.boundaryHits }
        #expect(Set(reported.map(Identity.init)).count == reported.count)
        #expect(before.subtracting(reported).count <= boundaryHits)
        #expect(mode == .fast || boundaryHits == 0)
        #expect(saw.allSatisfy { $0.lostAnswers == 0 && $0.goneEntries == 0 })
        #expect(after.count == before.count && after.allSatisfy { $0.bytes == 0 })
    }

    private struct Identity: Hashable {
        let transport: TransportProtocol
        let original: FlowTuple

        init(_ flow: Flow) { (transport, original) = (flow.transport, flow.original) }
    }
}

@Suite struct FailureTests {
    @Test("a kernel error during a dump loses no counts", arguments: ConntrackTable.Mode.allCases, [ENOMEM, EIO])
    func anErrorInTheMidstOfADumpLosesNothing(mode: ConntrackTable.Mode, code: Int32) async throws {
        try await NetworkNamespace.run {
            let collections = try TwoCollections(mode) { forger, sequence in
                forger.sendError(code, sequence: sequence)
            }
            #expect(
                collections.error == .system(operation: "dumping the conntrack table", errno: code))
            #expect(!collections.first.isEmpty)
            collections.expectNothingLost(in: mode)
            switch mode {
            case .exact: #expect(!collections.second.isEmpty)
            // The entries that the kernel had zeroed could still be read.
            case .fast: #expect(collections.second.isEmpty)
            }
        }
    }

    @Test("a malformed message during a dump loses no counts", arguments: ConntrackTable.Mode.allCases)
    func aMessageThatCannotBeReadInTheMidstOfADumpLosesNothing(mode: ConntrackTable.Mode) async throws {
        try await NetworkNamespace.run {
            let collections = try TwoCollections(mode) { forger, sequence in
                forger.send(NLMSG_ERROR, sequence: sequence, [1, 2])
            }
            #expect(collections.error == .malformedMessage("an NLMSG_ERROR of 2 bytes"))
            collections.expectNothingLost(in: mode)
        }
    }

    @Test(
        "a dump that the kernel marks as interrupted is reported so and loses no counts",
        arguments: ConntrackTable.Mode.allCases)
    func aTableThatChangesWhileItIsDumpedIsSaidToAndLosesNothing(mode: ConntrackTable.Mode) async throws {
        try await NetworkNamespace.run {
            let collections = try TwoCollections(mode) { forger, sequence in
                let type = Int32(NFNL_SUBSYS_CTNETLINK) << 8 | Int32(IPCTNL_MSG_CT_NEW.rawValue)
                forger.send(type, flags: NLM_F_MULTI | NLM_F_DUMP_INTR, sequence: sequence, [0, 0, 0, 0])
            }
            #expect(collections.error == nil)
            #expect(collections.saw.map(\.isInterrupted) == [true, false])
            #expect(collections.saw.map(\.entries) == [collections.before.count + 1, collections.before.count])
            #expect(collections.second.isEmpty)
            collections.expectNothingLost(in: mode)
        }
    }

    @Test("messages from other processes are rejected") func whatIsNotTheKernelsIsRefused() async throws {
        try await NetworkNamespace.run {
            let table = try ConntrackTable()
            let zeroer = try EntryZeroer(events: nil)
            for descriptor in [table.socket.descriptor, zeroer.socket.descriptor] {
                let forger = try Forger(for: descriptor)
                #expect(forger.send(NLMSG_ERROR, sequence: 1, [0, 0, 0, 0]) == ECONNREFUSED)
                Forger.lowerGuard(of: descriptor)
                #expect(forger.send(NLMSG_ERROR, sequence: 1, [0, 0, 0, 0]) == 0)
            }
        }
    }

    @Test("signals during a collection lose no counts", arguments: ConntrackTable.Mode.allCases)
    func signalsDuringCollectionsCostNothing(
        mode: ConntrackTable.Mode
    ) async throws {
        try await NetworkNamespace.run {
            var storm: SignalStorm?
            let collections = try TwoCollections(mode) { _, _ in
                storm = SignalStorm()
                storm?.waitForSignals(3)
            } calm: {
                storm?.end()
            }
            #expect(storm != nil)
            #expect(collections.error == nil)
            #expect(collections.second.isEmpty)
            collections.expectNothingLost(in: mode)
        }
    }

    @Test("a signal does not end the wait for a response") func aSignalDoesNotEndTheWaitForAnAnswer() async throws {
        let received = try await NetworkNamespace.run {
            let socket = try NetlinkSocket()
            Forger.lowerGuard(of: socket.descriptor)
            let forger = try Forger(for: socket.descriptor)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
            defer { buffer.deallocate() }
            // The message arrives after the waiting thread has taken signals.
            let storm = SignalStorm(until: 20) { forger.send(NLMSG_NOOP, sequence: 7, []) }
            defer { storm.end() }
            return try socket.receive(into: buffer, operation: "waiting").count
        }
        #expect(received == 16)
    }
}

/// Sends signals to the thread that creates it; their handler only counts them.
private final class SignalStorm: Sendable {
    private static let taken = Atomic(0)
    private let begin = SignalStorm.taken.load(ordering: .relaxed)
    private let isOver = Atomic(false)
    private let hasEnded = DispatchSemaphore(value: 0)

    /// Starts the storm; `whenReached` is called once, when the thread has taken `count` signals.
    init(until count: Int = .max, whenReached: @escaping () -> Void = {}) {
        var action = sigaction()
        // Without SA_RESTART, blocking system calls end with EINTR.
        action.__sigaction_handler.sa_handler = { _ in SignalStorm.taken.add(1, ordering: .relaxed) }
        sigaction(SIGUSR2, &action, nil)
        // A thread created by a thread of the pool inherits its blocked signals.
        var unblocked = sigset_t()
        sigaddset(&unblocked, SIGUSR2)
        pthread_sigmask(SIG_UNBLOCK, &unblocked, nil)
        let thread = pthread_self()
        nonisolated(unsafe) let whenReached = whenReached
        Thread { [self] in
            var hasReached = false
            while !isOver.load(ordering: .relaxed) {
                pthread_kill(thread, SIGUSR2)
                if !hasReached && signals >= count {
                    hasReached = true
                    whenReached()
                }
                usleep(100)
            }
            hasEnded.signal()
        }.start()
    }

    private var signals: Int { Self.taken.load(ordering: .relaxed) - begin }

    func waitForSignals(_ count: Int) {
        let soFar = signals
        while signals < soFar + count { usleep(100) }
    }

    /// Ends the storm; no signal follows.
    func end() {
        isOver.store(true, ordering: .relaxed)
        hasEnded.wait()
    }
}
