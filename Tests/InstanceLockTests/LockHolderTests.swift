// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import InstanceLock

@Suite struct LockHolderTests {
    private let start = ContinuousClock.now
    private let own = LockPeer(process: 7, user: 0)

    private func after(_ seconds: Double) -> ContinuousClock.Instant {
        start + .milliseconds(Int((seconds * 1000).rounded()))
    }

    private func makeHolder(workload: String = "a") -> LockHolder {
        LockHolder(workload: workload, user: 0, now: start)
    }

    private func ask(
        _ holder: inout LockHolder, _ id: Int, _ kind: LockMessage.Kind = .takeOver, workload: String = "a",
        isAuthorized: Bool = true
    ) -> [LockHolder.Action] {
        #expect(holder.connected(id, own, now: start) == [])
        return holder.received(LockMessage(kind, workload: workload), isAuthorized: isAuthorized, from: id)
    }

    private func confirm(_ holder: inout LockHolder, _ id: Int) -> [LockHolder.Action] {
        holder.received(LockMessage(.confirm, workload: "a"), isAuthorized: false, from: id)
    }

    @Test("a holder leaves for a successor of the same workload and grants the lock")
    func handover() {
        var holder = makeHolder()
        #expect(ask(&holder, 1) == [.reply(.leaving, to: 1), .leave(for: own)])
        #expect(holder.offer(now: after(1)) == [.grant(to: 1)])
        #expect(confirm(&holder, 1) == [.finish(.handedOver)])
    }

    @Test("a holder does not leave for agents of another or no workload, or on standby")
    func others() {
        var holder = makeHolder()
        #expect(ask(&holder, 1, workload: "b") == [.reply(.wait, to: 1), .reportWaiting(1)])
        #expect(ask(&holder, 2, workload: "") == [.reply(.wait, to: 2), .reportWaiting(2)])
        #expect(ask(&holder, 3, .standBy) == [.reply(.wait, to: 3)])
        var unnamed = makeHolder(workload: "")
        #expect(ask(&unnamed, 1, workload: "") == [.reply(.wait, to: 1), .reportWaiting(1)])
    }

    @Test("a holder that shuts down grants the lock to starting agents before those on standby")
    func shutdown() {
        var holder = makeHolder()
        _ = ask(&holder, 1, .standBy)
        _ = ask(&holder, 2, workload: "b")
        #expect(holder.stop() == [.reply(.leaving, to: 1), .reply(.leaving, to: 2)])
        #expect(holder.stop() == [])
        #expect(ask(&holder, 3, workload: "c") == [.reply(.leaving, to: 3)])
        #expect(holder.offer(now: start) == [.grant(to: 2)])
        #expect(holder.closed(2) == [.close(2), .grant(to: 3)])
        #expect(holder.closed(3) == [.close(3), .grant(to: 1)])
        #expect(holder.closed(1) == [.close(1), .finish(.kept)])
    }

    @Test("a holder whose successor is gone keeps the lock, whatever agents wait")
    func successorIsGone() {
        var holder = makeHolder()
        _ = ask(&holder, 1, .standBy)
        _ = ask(&holder, 2, workload: "b")
        #expect(ask(&holder, 3) == [.reply(.leaving, to: 3), .leave(for: own)])
        #expect(holder.closed(3) == [.close(3)])
        #expect(holder.offer(now: start) == [.finish(.kept)])
    }

    @Test("a second successor gets the lock only if the first does not confirm")
    func twoSuccessors() {
        var holder = makeHolder()
        #expect(ask(&holder, 1) == [.reply(.leaving, to: 1), .leave(for: own)])
        #expect(ask(&holder, 2) == [.reply(.leaving, to: 2)])
        #expect(holder.offer(now: start) == [.grant(to: 1)])
        #expect(holder.deadline == after(2))
        #expect(holder.passed(after(2)) == [.revoke(1)])
        #expect(holder.closed(1) == [.close(1), .grant(to: 2)])
        #expect(confirm(&holder, 2) == [.finish(.handedOver)])
    }

    @Test("a confirmation that arrives before the revocation counts")
    func lateConfirmation() {
        var holder = makeHolder()
        _ = ask(&holder, 1)
        _ = holder.offer(now: start)
        #expect(holder.passed(after(2)) == [.revoke(1)])
        #expect(confirm(&holder, 1) == [.finish(.handedOver)])
    }

    @Test("a successor that arrives after the offer can get the lock")
    func offeredAlready() {
        var holder = makeHolder()
        _ = ask(&holder, 1)
        _ = holder.offer(now: start)
        #expect(ask(&holder, 2) == [])
        #expect(holder.closed(1) == [.close(1), .grant(to: 2)])
    }

    @Test("peers connected at the time of the offer have two seconds to send their request")
    func lateRequests() {
        var holder = makeHolder()
        _ = holder.stop()
        #expect(holder.connected(1, own, now: start) == [])
        #expect(holder.offer(now: after(1)) == [])
        #expect(holder.received(LockMessage(.standBy, workload: "a"), isAuthorized: true, from: 1) == [.grant(to: 1)])
        var other = makeHolder()
        #expect(other.connected(1, own, now: after(0.5)) == [])
        #expect(other.offer(now: after(1)) == [])
        #expect(other.passed(after(2.5)) == [.close(1), .finish(.kept)])
        var third = makeHolder()
        #expect(third.connected(1, own, now: after(1)) == [])
        #expect(third.offer(now: after(1)) == [])
        #expect(third.connected(2, own, now: after(2.9)) == [])
        #expect(third.passed(after(3)) == [.close(1), .finish(.kept)])
    }

    @Test("peers of another user, without proof, out of turn or silent are closed")
    func strangers() {
        var holder = makeHolder()
        #expect(holder.connected(1, LockPeer(process: 1, user: 33), now: start) == [.close(1)])
        #expect(holder.connected(2, nil, now: start) == [.close(2)])
        #expect(ask(&holder, 3, isAuthorized: false) == [.close(3)])
        for (id, kind) in zip(4..., [LockMessage.Kind.wait, .leaving, .grant, .confirm]) {
            #expect(ask(&holder, id, kind) == [.close(id)])
        }
        _ = ask(&holder, 10, workload: "b")
        #expect(holder.received(LockMessage(.takeOver, workload: "a"), isAuthorized: true, from: 10) == [.close(10)])
        #expect(holder.connected(11, own, now: start) == [])
        #expect(holder.passed(after(1.9)) == [])
        #expect(holder.passed(after(2)) == [.close(11)])
        #expect(holder.received(LockMessage(.takeOver, workload: "a"), isAuthorized: true, from: 11) == [])
        #expect(confirm(&holder, 10) == [])
        #expect(holder.deadline == nil)
    }

    @Test("a connection that cannot be accepted pauses accepting for a second")
    func noDescriptors() {
        var holder = makeHolder()
        holder.couldNotAccept(now: after(0.5))
        #expect(!holder.mayAccept(now: after(0.6)) && holder.deadline == after(1))
        _ = holder.passed(after(1))
        #expect(holder.mayAccept(now: after(1)) && holder.deadline == nil)
    }

    @Test("the number of connections, and of those per second, is limited")
    func bounds() {
        var holder = makeHolder()
        for id in 0..<LockHolder.maximumPeers {
            #expect(holder.mayAccept(now: start))
            _ = holder.connected(id, own, now: start)
        }
        #expect(!holder.mayAccept(now: start))
        _ = holder.closed(0)
        #expect(holder.mayAccept(now: start))
        for id in 100..<100 + LockHolder.maximumAcceptsPerSecond - LockHolder.maximumPeers {
            #expect(holder.mayAccept(now: start))
            _ = holder.connected(id, nil, now: start)
        }
        #expect(!holder.mayAccept(now: after(0.9)))
        #expect(holder.deadline == after(1))
        #expect(holder.mayAccept(now: after(1)))
        _ = holder.passed(after(1))
        #expect(holder.deadline == after(2))
    }
}
