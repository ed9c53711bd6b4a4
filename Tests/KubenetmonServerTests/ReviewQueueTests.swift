// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import KubenetmonServer

/// Time is the test's own.
@Suite struct ReviewQueueTests {
    private let start = ContinuousClock.now

    /// Lets time pass in steps of a millisecond, each review taking so many of them; returns when each claim's began.
    private func run(
        _ queue: inout ReviewQueue<String>, from start: ContinuousClock.Instant, milliseconds: Int, reviewTime: Int = 3,
        each: (inout ReviewQueue<String>, Int) -> Void = { _, _ in }
    ) -> [(claim: String, source: String, millisecond: Int)] {
        var begun: [(claim: String, source: String, millisecond: Int)] = []
        var ends: [(source: String, millisecond: Int)] = []
        for millisecond in 0..<milliseconds {
            each(&queue, millisecond)
            for (source, _) in ends.filter({ $0.millisecond == millisecond }) { queue.finish(source) }
            ends.removeAll { $0.millisecond == millisecond }
            while case .review(let claim, let source) = queue.next(at: start + .milliseconds(millisecond)) {
                begun.append((claim, source, millisecond))
                ends.append((source, millisecond + reviewTime))
            }
        }
        return begun
    }

    /// The most reviews within any second.
    private func most(_ begun: some Collection<(claim: String, source: String, millisecond: Int)>) -> Int {
        begun.map { first in begun.count { first.millisecond..<first.millisecond + 1_000 ~= $0.millisecond } }.max()
            ?? 0
    }

    @Test("a source has ten reviews in any second")
    func oneSource() {
        var queue = ReviewQueue<String>()
        var number = 0
        let begun = run(&queue, from: start, milliseconds: 3_500) { queue, _ in
            number += 1
            _ = queue.add("\(number)", from: "a")
        }
        #expect(begun.count == 35 && most(begun) == 10 && begun.first?.millisecond == 0)
    }

    @Test("all sources together have fifty reviews in any second, and take turns")
    func manySources() {
        var queue = ReviewQueue<String>()
        let begun = run(&queue, from: start, milliseconds: 3_500) { queue, millisecond in
            for source in 0..<200 { _ = queue.add("\(millisecond)", from: "\(source)") }
        }
        #expect(begun.count == 175 && most(begun) == 50)
        #expect(Set(begun.map(\.source)).count == 175)
    }

    @Test("a good agent waits for no flood but that of its own address")
    func flood() {
        var queue = ReviewQueue<String>()
        let begun = run(&queue, from: start, milliseconds: 5_000) { queue, millisecond in
            for source in 0..<100 { _ = queue.add("bad", from: "\(source)") }
            if millisecond == 1_500 { #expect(queue.add("good", from: "good") == true) }
        }
        let good = begun.first { $0.claim == "good" }?.millisecond ?? .max
        // A hundred others come first.
        #expect(good <= 1_500 + 100 * 20 + 20)
        #expect(most(begun) == 50)
    }

    @Test("hanging reviews of one source leave threads to others")
    func hanging() {
        var queue = ReviewQueue<String>()
        for number in 0..<10 { #expect(queue.add("\(number)", from: "bad") == true) }
        let begun = run(&queue, from: start, milliseconds: 1_000, reviewTime: .max / 2) { queue, millisecond in
            if millisecond == 500 { #expect(queue.add("good", from: "good") == true) }
        }
        #expect(begun.map(\.source) == ["bad", "bad", "good"] && begun.last?.millisecond == 500)
    }

    @Test("what waits is bounded, of one source and of all, and a source that is done with is forgotten")
    func bounds() {
        var limits = ReviewLimits()
        (limits.waiting, limits.waitingPerSource) = (100, 8)
        var queue = ReviewQueue<String>(limits)
        let ofOne = (0..<50).count { queue.add("\($0)", from: "bad") }
        let ofOthers = (0..<1_000).count { queue.add("", from: "\($0)") }
        #expect(ofOne == 8 && ofOthers == 92)
        #expect(queue.sourceCount == 93)
        _ = run(&queue, from: start, milliseconds: 10_000)
        let last = queue.next(at: start + .seconds(11))
        guard case .idle = last else {
            Issue.record("something waits still")
            return
        }
        #expect(queue.sourceCount == 0)
    }

    @Test("the next look is told, and nothing is missed by waiting for it")
    func waiting() {
        var queue = ReviewQueue<String>()
        var now = start
        for source in ["a", "a", "b"] { #expect(queue.add(source, from: source) == true) }
        var log: [String] = []
        while true {
            switch queue.next(at: now) {
            case .review(let claim, let source):
                log.append("\(claim) \((now - start) / .milliseconds(1))")
                queue.finish(source)
                continue
            case .wait(let moment):
                #expect(moment > now)
                now = moment
                continue
            case .idle: break
            }
            break
        }
        #expect(log == ["a 0.0", "b 20.0", "a 100.0"])
    }
}
