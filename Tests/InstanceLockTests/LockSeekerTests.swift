// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import InstanceLock

@Suite struct LockSeekerTests {
    private let start = ContinuousClock.now
    private let agent = LockPeer(process: 7, user: 0)

    private func after(_ seconds: Double) -> ContinuousClock.Instant {
        start + .milliseconds(Int((seconds * 1000).rounded()))
    }

    @Test("a free lock is acquired at once")
    func free() {
        var seeker = LockSeeker(.takeOver, user: 0)
        #expect(seeker.handle(.bound, now: start) == .finish(.acquired))
    }

    @Test("a seeker requests, is granted and confirms the lock of a leaving holder")
    func handover() {
        var seeker = LockSeeker(.takeOver, user: 0)
        #expect(seeker.handle(.nameIsTaken, now: start) == .connect)
        #expect(seeker.handle(.connected(agent), now: start) == .request(.takeOver, until: after(2)))
        #expect(seeker.handle(.received(.leaving, workload: "a"), now: after(1)) == .receive(until: after(61)))
        #expect(seeker.handle(.received(.grant, workload: "a"), now: after(30)) == .confirm)
        #expect(seeker.handle(.confirmed, now: after(30)) == .finish(.handedOver))
    }

    @Test("a seeker requests the lock again if the holder revokes it")
    func lateConfirmation() {
        var seeker = LockSeeker(.takeOver, user: 0)
        _ = seeker.handle(.connected(agent), now: start)
        _ = seeker.handle(.received(.leaving, workload: "a"), now: start)
        #expect(seeker.handle(.received(.grant, workload: "a"), now: start) == .confirm)
        #expect(seeker.handle(.closed, now: start) == .pause(until: after(0.02)))
        #expect(seeker.handle(.timePassed, now: after(0.02)) == .bind)
    }

    @Test("a seeker waits ten seconds in all for a holder that goes on, over several connections")
    func refusal() {
        var seeker = LockSeeker(.takeOver, user: 0)
        _ = seeker.handle(.connected(agent), now: start)
        #expect(seeker.handle(.received(.wait, workload: "a"), now: start) == .receive(until: after(10)))
        #expect(seeker.handle(.closed, now: after(6)) == .pause(until: after(6.02)))
        _ = seeker.handle(.timePassed, now: after(6.02))
        _ = seeker.handle(.connected(agent), now: after(6.02))
        #expect(seeker.handle(.received(.wait, workload: "a"), now: after(7)) == .receive(until: after(10)))
        let refusal = Refusal(peer: agent, workload: "a", reason: .running)
        #expect(seeker.handle(.timePassed, now: after(10)) == .finish(.refused(refusal)))
    }

    @Test("a seeker waits for a holder that begins to leave later")
    func leavesLater() {
        var seeker = LockSeeker(.takeOver, user: 0)
        _ = seeker.handle(.connected(agent), now: start)
        _ = seeker.handle(.received(.wait, workload: "a"), now: start)
        #expect(seeker.handle(.received(.leaving, workload: "a"), now: after(9)) == .receive(until: after(69)))
        let refusal = Refusal(peer: agent, workload: "a", reason: .stuck)
        #expect(seeker.handle(.timePassed, now: after(69)) == .finish(.refused(refusal)))
    }

    @Test("a seeker on standby waits without limit, and acquires the lock when the holder ends")
    func standBy() {
        var seeker = LockSeeker(.standBy, user: 0)
        #expect(seeker.handle(.connected(agent), now: start) == .request(.standBy, until: after(2)))
        #expect(seeker.handle(.received(.wait, workload: "a"), now: start) == .receive(until: nil))
        #expect(seeker.handle(.received(.leaving, workload: "a"), now: after(9000)) == .receive(until: nil))
        #expect(seeker.handle(.closed, now: after(9001)) == .pause(until: after(9001.02)))
        #expect(seeker.handle(.timePassed, now: after(9001.02)) == .bind)
        #expect(seeker.handle(.bound, now: after(9001.02)) == .finish(.acquired))
    }

    @Test("a seeker waits for an agent of another protocol version, and is then rejected")
    func otherVersion() {
        var seeker = LockSeeker(.takeOver, user: 0)
        _ = seeker.handle(.connected(agent), now: start)
        #expect(seeker.handle(.receivedOtherVersion(9), now: start) == .pause(until: after(0.5)))
        #expect(seeker.handle(.timePassed, now: after(0.5)) == .bind)
        _ = seeker.handle(.connected(agent), now: after(10))
        let refusal = Refusal(peer: agent, workload: "", reason: .otherVersion(9))
        #expect(seeker.handle(.receivedOtherVersion(9), now: after(10)) == .finish(.refused(refusal)))
    }

    @Test(
        "a program that is not an agent is reported after ten seconds and does not prevent the start",
        arguments: [
            (LockSeeker.Event.connected(LockPeer(process: 9, user: 33)), Squatter.Reason.otherUser),
            (.receivedNonsense, .nonsense), (.closed, .silent), (.timePassed, .silent),
            (.received(.confirm, workload: ""), .nonsense), (.received(.takeOver, workload: ""), .nonsense),
        ])
    func squatters(event: LockSeeker.Event, reason: Squatter.Reason) throws {
        for kind in [LockMessage.Kind.takeOver, .standBy] {
            var seeker = LockSeeker(kind, user: 0)
            var (now, attempts) = (start, 0)
            while true {
                #expect(seeker.handle(.nameIsTaken, now: now) == .connect)
                var action = LockSeeker.Action.connect
                if case .connected = event {} else { action = seeker.handle(.connected(agent), now: now) }
                if case .request(_, let until) = action { now = event == .timePassed ? until : now + .milliseconds(1) }
                action = seeker.handle(event, now: now)
                attempts += 1
                guard case .pause(let until) = action else {
                    let peer = reason == .otherUser ? LockPeer(process: 9, user: 33) : agent
                    #expect(action == .finish(.squatted(Squatter(peer: peer, reason: reason))))
                    break
                }
                #expect(until > now)
                now = until
                #expect(seeker.handle(.timePassed, now: now) == .bind)
            }
            #expect(now - start >= .seconds(10) && now - start < .seconds(13))
            #expect(attempts > 3 && attempts < 40)
        }
    }

    @Test("a name that is bound but not listening is reported without a process")
    func boundButNotListening() {
        var seeker = LockSeeker(.takeOver, user: 0)
        #expect(seeker.handle(.notConnected, now: start) == .pause(until: after(0.02)))
        let squatter = Squatter(peer: nil, reason: .silent)
        #expect(seeker.handle(.notConnected, now: after(10)) == .finish(.squatted(squatter)))
    }

    @Test("the ten seconds begin again if a presumed squatter is an agent")
    func squatterIsAnAgent() {
        var seeker = LockSeeker(.takeOver, user: 0)
        _ = seeker.handle(.connected(agent), now: start)
        _ = seeker.handle(.timePassed, now: after(2))
        _ = seeker.handle(.connected(agent), now: after(3))
        #expect(seeker.handle(.received(.wait, workload: "a"), now: after(9)) == .receive(until: after(19)))
        _ = seeker.handle(.closed, now: after(11))
        _ = seeker.handle(.connected(agent), now: after(11.02))
        #expect(seeker.handle(.closed, now: after(11.03)) == .pause(until: after(11.53)))
    }
}
