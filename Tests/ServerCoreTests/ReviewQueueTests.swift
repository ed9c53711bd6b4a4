// SPDX-License-Identifier: Apache-2.0

import Sockets
import NIOCore
import TestSupport
import Testing

import ServerCore

/// Tests with a simulated clock.
@Suite struct ReviewQueueTests {
    private typealias Queue = ReviewQueue<String>

    /// The beginning of a review, or the expiry of a claim without one.
    private struct Event: Equatable {
        let claim: String
        let millisecond: Int
    }

    /// Advances time in steps of one millisecond, with a fixed duration for each review; claims that begin with "good"
    /// are good.
    private struct Run {
        let start = ContinuousClock.now
        var queue: Queue
        var reviewTime = 3
        /// Whether reviews end with a verdict.
        var isConclusive = true
        var millisecond = 0
        var begun: [Event] = []
        var expired: [Event] = []
        var unanswered = 0
        private var ends: [Int: [(number: UInt64, claim: String)]] = [:]

        init(_ limits: ReviewLimits = ReviewLimits()) { queue = Queue(limits) }

        var now: ContinuousClock.Instant { start + .milliseconds(millisecond) }

        @discardableResult
        mutating func add(_ claim: String, from source: String, wasGood: Bool = false) -> Queue.Place? {
            queue.add(claim, from: source, wasGood: wasGood, at: now)
        }

        mutating func pass(_ milliseconds: Int, each: (inout Run) -> Void = { _ in }) {
            for _ in 0..<milliseconds {
                each(&self)
                for (number, claim) in ends.removeValue(forKey: millisecond) ?? [] {
                    let verdict: Queue.Verdict = claim.hasPrefix("good") ? .good : .refused
                    queue.finish(number, isConclusive ? verdict : nil, at: now)
                }
                step()
                millisecond += 1
            }
        }

        private mutating func step() {
            while true {
                switch queue.next(at: now) {
                case .review(let claim, let number):
                    begun.append(Event(claim: claim, millisecond: millisecond))
                    let (end, isLate) = millisecond.addingReportingOverflow(reviewTime)
                    if !isLate { ends[end, default: []].append((number, claim)) }
                case .expire(let claim, let isUnanswered):
                    expired.append(Event(claim: claim, millisecond: millisecond))
                    if isUnanswered { unanswered += 1 }
                case .wait, .idle: return
                }
            }
        }

        /// The highest number of reviews within any second.
        var most: Int {
            begun.map { first in begun.count { first.millisecond..<first.millisecond + 1_000 ~= $0.millisecond } }.max()
                ?? 0
        }

        /// Returns the number of reviews between a moment and the claim's review, and the claim's wait in milliseconds.
        func wait(of claim: String, since begin: Int) -> (reviews: Int, milliseconds: Int)? {
            guard let review = begun.first(where: { $0.claim == claim && $0.millisecond >= begin }) else { return nil }
            return (begun.count { begin..<review.millisecond ~= $0.millisecond }, review.millisecond - begin)
        }
    }

    // MARK: - Rates

    @Test("a source has at most ten reviews a second")
    func oneSource() {
        var run = Run()
        run.reviewTime = 1
        run.pass(3_500) { $0.add("good", from: "a") }
        #expect(run.begun.count == 35 && run.most == 10 && run.begun.first?.millisecond == 0)
    }

    @Test("all sources together have at most fifty reviews a second, those with only rejections twenty")
    func manySources() {
        var run = Run()
        run.pass(3_500) { run in
            guard run.millisecond % 10 == 0 else { return }
            for source in 0..<100 { run.add("\(source)", from: "\(source)") }
        }
        // Each source is rejected once within the first two seconds.
        #expect(Set(run.begun.prefix(100).map(\.claim)).count == 100)
        #expect(run.most == 50 && run.begun.count { $0.millisecond < 2_000 } == 100)
        #expect((28...31).contains(run.begun.count { $0.millisecond >= 2_000 }))
    }

    @Test("hanging reviews of one source leave threads to others")
    func hanging() {
        var run = Run()
        run.reviewTime = .max
        for number in 0..<10 { run.add("\(number)", from: "bad") }
        run.pass(500)
        run.add("good", from: "good")
        run.pass(500)
        #expect(run.begun.map(\.millisecond) == [0, 100, 500] && run.begun.last?.claim == "good")
    }

    @Test("slow reviews of rejected sources leave threads to others")
    func slowRefusals() {
        var run = Run()
        for source in 0..<20 { run.add("bad", from: "\(source)") }
        run.pass(1_000)
        run.reviewTime = .max
        for source in 0..<20 { run.add("bad", from: "\(source)") }
        run.pass(1_000)
        #expect(run.begun.count == 22)
        run.add("good", from: "good")
        run.pass(2)
        #expect(run.begun.last?.claim == "good")
    }

    // MARK: - Floods

    @Test(
        "a new agent waits less than two seconds among a thousand sources with several claims each",
        arguments: [0, 1, 777, 3_000])
    func floodFromManySources(begin: Int) {
        var run = Run()
        func fill(_ run: inout Run) {
            // Each source makes four claims at the start and four a second after that.
            guard run.millisecond % 250 == 0 else { return }
            for source in 0..<1_000 { run.add("bad", from: "\(source)") }
        }
        for _ in 0..<4 { fill(&run) }
        run.pass(begin, each: fill)
        #expect(run.add("good", from: "good") != nil)
        run.pass(2_000, each: fill)
        let wait = run.wait(of: "good", since: begin)
        #expect(wait.map { $0.reviews <= 110 && $0.milliseconds <= 2_000 } == true, "\(wait as Any)")
        #expect(run.most <= 50)
    }

    @Test("a new agent waits at most 20 ms among ten thousand connections of one IPv6 /64")
    func floodFromOneHost() throws {
        var run = Run()
        let sources = try Set(
            (0..<10_000).map { try SocketAddress(ipAddress: "2001:db8::\(String($0, radix: 16))", port: 1).source })
        #expect(sources.count == 1)
        func fill(_ run: inout Run) {
            for source in sources { run.add("bad", from: source) }
        }
        run.pass(3_000, each: fill)
        #expect(run.add("good", from: try SocketAddress(ipAddress: "2001:db8:0:1::1", port: 1).source) != nil)
        run.pass(100, each: fill)
        let wait = try #require(run.wait(of: "good", since: 3_000))
        #expect(wait.reviews <= 1 && wait.milliseconds <= 20)
        #expect(run.most <= 12)
    }

    @Test("an agent that arrives after a thousand claims waits for none of them")
    func latecomer() {
        var run = Run()
        for source in 0..<1_000 { run.add("bad", from: "\(source)") }
        run.pass(10)
        run.add("good", from: "good")
        run.pass(100)
        #expect(run.wait(of: "good", since: 10)?.milliseconds == 10)
    }

    @Test("good sources and tokens are reviewed before new sources, and rejected ones last")
    func standing() {
        var run = Run()
        run.add("good 1", from: "good")
        run.add("bad", from: "refused")
        run.add("bad", from: "shared")
        run.pass(200)
        run.begun = []
        for source in ["refused", "new", "shared"] { run.add(source, from: source) }
        run.add("good 2", from: "good")
        run.add("good 3", from: "shared", wasGood: true)
        run.pass(200)
        // The second claim from the shared address has to wait for a tenth of a second.
        #expect(run.begun.map(\.claim) == ["good 2", "good 3", "new", "refused", "shared"])
    }

    @Test("sources whose reviews give no verdict take turns")
    func inconclusive() {
        var run = Run()
        run.isConclusive = false
        for source in 0..<40 {
            for _ in 0..<8 { run.add("\(source)", from: "\(source)") }
        }
        run.pass(1_600)
        let counts = run.begun.reduce(into: [String: Int]()) { $0[$1.claim, default: 0] += 1 }
        #expect(run.begun.count == 80 && counts.count == 40 && counts.values.allSatisfy { $0 == 2 })
    }

    // MARK: - Bounds

    @Test("in a full queue, a better claim displaces a worse one")
    func displacement() {
        var limits = ReviewLimits()
        (limits.waiting, limits.waitingPerSource) = (100, 8)
        var run = Run(limits)
        let ofOne = (0..<50).count { run.add("one \($0)", from: "bad") != nil }
        #expect(ofOne == 8)
        for source in 0..<92 { #expect(run.add("\(source)", from: "\(source)")?.displaced == nil) }
        // The source with the most claims is displaced first, until it has no more than others; then the oldest source.
        for number in 0..<7 { #expect(run.add("", from: "new \(number)")?.displaced == "one \(7 - number)") }
        #expect(run.add("", from: "new 7")?.displaced == "one 0")
        #expect(run.add("", from: "new 8")?.displaced == "0")
        #expect(run.add("", from: "new 8") == nil)
        #expect(run.queue.waitingCount == 100)
        // A claim whose token was good is always admitted to the queue, even from a source over its limit.
        #expect(run.add("good", from: "new 8", wasGood: true)?.displaced != nil)
        for number in 0..<8 { run.add("good \(number)", from: "known", wasGood: number < 4) }
        #expect(run.add("good", from: "known", wasGood: true)?.displaced == "good 7")
        #expect(run.queue.waitingCount == 100)
    }

    @Test(
        "a claim expires at its deadline, waiting or in flight, and unanswered reviews are known"
    )
    func deadline() {
        var run = Run()
        run.reviewTime = .max
        for source in 0..<10 { run.add("\(source)", from: "\(source)") }
        run.pass(5_001)
        #expect(run.begun.count == 4)
        #expect(run.expired.map(\.millisecond) == Array(repeating: 5_000, count: 10) && run.unanswered == 10)

        run = Run()
        for source in 0..<1_000 { run.add("\(source)", from: "\(source)") }
        run.pass(5_001)
        #expect(run.begun.count == 250 && run.expired.count == 750 && run.unanswered == 0)
        #expect(run.queue.waitingCount == 0)

        // The API server answers for one second, then no longer.
        run = Run()
        for source in 0..<1_000 { run.add("\(source)", from: "\(source)") }
        run.pass(1_000)
        run.reviewTime = .max
        run.pass(4_001)
        #expect(run.begun.count == 54 && run.expired.count == 950 && run.unanswered == 950)
    }

    @Test("a removed claim is not reviewed")
    func removal() {
        var run = Run()
        let places = (0..<30).compactMap { run.add("\($0)", from: "\($0 % 3)") }
        for place in places { run.queue.remove(place.number) }
        #expect(run.queue.waitingCount == 0)
        run.pass(6_000)
        #expect(run.begun == [] && run.expired == [])

        for number in 0..<30 { run.add(number % 2 == 0 ? "same" : "\(number)", from: "\(number)") }
        run.pass(1)
        #expect(run.queue.remove { $0 == "same" } == Array(repeating: "same", count: 15))
        run.pass(6_000)
        #expect(run.begun.count == 15 && !run.begun.contains { $0.claim == "same" })
    }

    @Test("a source is forgotten some time after its last claim, or earlier if there are too many")
    func memory() {
        var limits = ReviewLimits()
        (limits.memory, limits.remembered) = (.seconds(20), 200)
        var run = Run(limits)
        for source in 0..<100 { run.add("bad", from: "\(source)") }
        run.pass(5_000)
        #expect(run.queue.sourceCount == 100)
        run.pass(17_001)
        #expect(run.queue.sourceCount == 0)
        for source in 0..<1_000 {
            if let place = run.add("bad", from: "\(source)") { run.queue.remove(place.number) }
            #expect(run.queue.sourceCount <= 200)
        }
    }

    @Test("the queue returns the time of its next action, and waiting for it misses nothing")
    func waiting() {
        var queue = Queue()
        let start = ContinuousClock.now
        var now = start
        for source in ["a", "a", "b"] { #expect(queue.add(source, from: source, at: now) != nil) }
        var log: [String] = []
        while true {
            switch queue.next(at: now) {
            case .review(let claim, let number):
                log.append("\(claim) \((now - start) / .milliseconds(1))")
                queue.finish(number, .good, at: now)
                continue
            case .expire(let claim, _):
                Issue.record("\(claim) expires")
                continue
            case .wait(let moment):
                #expect(moment > now)
                now = moment
                continue
            case .idle: break
            }
            break
        }
        #expect(log == ["b 0.0", "a 20.0", "a 120.0"])
    }
}
