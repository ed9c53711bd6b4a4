// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// The limits on claims: their load on the API server and their memory.
package struct ReviewLimits: Sendable {
    /// Time between two reviews.
    package var interval = Duration.milliseconds(20)
    /// Time between two reviews for one source.
    package var intervalPerSource = Duration.milliseconds(100)
    /// Time between two reviews for sources that recently had only rejections: two fifths of the rate.
    package var intervalOfRefused = Duration.milliseconds(50)
    /// Limit on waiting claims: four times as many as can be reviewed before their deadline.
    package var waiting = 1_024
    /// Limit on waiting claims from one source, such as agents behind one address translation: about three seconds of
    /// reviews.
    package var waitingPerSource = 32
    /// Limit on reviews in flight; one usually takes a few milliseconds.
    package var inFlight = 4
    /// Limit on reviews in flight for one source, so that hanging ones leave some to other sources.
    package var inFlightPerSource = 2
    /// Limit on reviews in flight for sources that recently had only rejections.
    package var inFlightOfRefused = 2
    /// Time after which a claim ends without a verdict, whether it waits or its review is in flight.
    package var deadline = Duration.seconds(5)
    /// Time for which a source is remembered after its last use: twice the maximum age of connections by default.
    package var memory = Duration.seconds(600)
    /// Limit on remembered sources, about four megabytes of them; the oldest is forgotten first.
    package var remembered = 20_000

    /// Makes the default limits.
    package init() {}
}

/// The claims that wait for the API server, and the order of their reviews.
///
/// Each source gets at most ten reviews a second, all sources together fifty, evenly spaced. Tokens that were good and
/// sources whose last verdict was good come first, then sources without a verdict, last sources that recently had only
/// rejections, which share a part of the rate. Among equals, the source with fewer claims since its last verdict comes
/// first: an agent has one connection, a flood many. If the queue is full, the claim that would be reviewed last is
/// displaced.
package struct ReviewQueue<Claim: Sendable> {
    package typealias Instant = ContinuousClock.Instant

    /// The next step for the caller.
    package enum Step {
        /// The review of a claim begins.
        case review(Claim, number: UInt64)
        /// A claim has reached its deadline. `isUnanswered` is true if the API server does not answer: for half the
        /// deadline the claim's own review has been in flight, or no review has ended.
        case expire(Claim, isUnanswered: Bool)
        /// Nothing before that moment.
        case wait(until: Instant)
        /// Nothing before a claim is added or a review ends.
        case idle
    }

    /// The result of a token's review.
    package enum Verdict {
        case good
        case refused
    }

    /// A claim's place in the queue.
    package struct Place: Sendable {
        package let number: UInt64
        /// The claim that was displaced to make room.
        package let displaced: Claim?
    }

    private enum Standing: Int {
        case good
        case unknown
        case refused
    }

    private struct Entry {
        let claim: Claim
        let source: String
        let wasGood: Bool
        /// The time when its review began; nil while it waits.
        var reviewBegin: Instant?
    }

    private struct Source {
        /// Claims whose token was good, then the others, each in order of arrival.
        var waiting: [UInt64] = []
        /// The number of waiting claims whose token was good.
        var waitingGood = 0
        var inFlight = 0
        var lastReview: Instant?
        /// The time when its last claim arrived or its last review ended.
        var lastUse: Instant
        var lastVerdict: Verdict?
        /// True once a verdict was good.
        var hasBeenGood = false
        /// Claims and reviews since the last verdict, plus the claims that still waited at that verdict.
        var effort = 0
        /// The queue's clock when the source last began to wait or had a review begun.
        var turn: UInt64 = 0

        var isIdle: Bool { waiting.isEmpty && inFlight == 0 }

        var standing: Standing {
            if waitingGood > 0 || lastVerdict == .good { return .good }
            return lastVerdict == .refused && !hasBeenGood ? .refused : .unknown
        }

        /// The order of reviews, lowest first. Among sources without a verdict the newest goes first: if more arrive
        /// than can be reviewed in time, each would nearly reach its deadline in order of arrival.
        var rank: (Int, Int, UInt64) {
            let standing = standing
            return (standing.rawValue, effort, standing == .unknown ? .max - turn : turn)
        }
    }

    private let limits: ReviewLimits
    private var entries: [UInt64: Entry] = [:]
    private var sources: [String: Source] = [:]
    /// The sources that have waiting claims.
    private var waitingSources: Set<String> = []
    /// Claims in the order of their deadlines; ended ones are removed once they reach the front.
    private var deadlines: Deque<(number: UInt64, deadline: Instant)> = []
    /// All sources, each with a time at which it was used, usually in ascending order.
    private var uses: Deque<(source: String, moment: Instant)> = []
    /// The source that ranked last at the latest search.
    private var last: String?
    private var waiting = 0
    private var inFlight = 0
    private var inFlightOfRefused: Set<UInt64> = []
    private var nextReview: Instant?
    private var nextReviewOfRefused: Instant?
    private var lastEnd: Instant?
    private var clock: UInt64 = 0

    package init(_ limits: ReviewLimits = ReviewLimits()) { self.limits = limits }

    /// The number of remembered sources.
    package var sourceCount: Int { sources.count }

    /// The number of waiting claims.
    package var waitingCount: Int { waiting }

    /// Adds a claim.
    ///
    /// - Parameter wasGood: Whether an earlier review found its token good.
    /// - Returns: Its place; nil if there is no room for it.
    package mutating func add(_ claim: Claim, from name: String, wasGood: Bool = false, at now: Instant) -> Place? {
        clock += 1
        let number = clock
        entries[number] = Entry(claim: claim, source: name, wasGood: wasGood)
        if sources[name] == nil {
            makeRoom()
            uses.append((name, now))
        }
        var source = sources[name] ?? Source(lastUse: now)
        source.lastUse = now
        source.effort += 1
        if source.waiting.isEmpty { source.turn = clock }
        source.waiting.insert(number, at: wasGood ? source.waitingGood : source.waiting.count)
        if wasGood { source.waitingGood += 1 }
        sources[name] = source
        waitingSources.insert(name)
        waiting += 1
        var displaced: Entry?
        if let loser = loser(for: name) {
            displaced = entries[loser]
            remove(loser)
            if loser == number { return nil }
        }
        deadlines.append((number, now + limits.deadline))
        return Place(number: number, displaced: displaced?.claim)
    }

    /// Removes a waiting claim whose connection has ended.
    package mutating func remove(_ number: UInt64) {
        guard let entry = entries[number], entry.reviewBegin == nil else { return }
        entries[number] = nil
        stopWaiting(number, entry)
    }

    /// Removes the waiting claims that meet a condition, and returns them.
    package mutating func remove(where isRemoved: (Claim) -> Bool) -> [Claim] {
        let removed = entries.filter { $0.value.reviewBegin == nil && isRemoved($0.value.claim) }
        for number in removed.keys { remove(number) }
        return removed.values.map(\.claim)
    }

    /// Returns the next step; a returned review counts as begun.
    package mutating func next(at now: Instant) -> Step {
        forgetSources(at: now)
        while let (number, deadline) = deadlines.first {
            guard let entry = entries[number] else {
                deadlines.removeFirst()
                continue
            }
            guard now >= deadline else { break }
            deadlines.removeFirst()
            remove(number)
            return .expire(entry.claim, isUnanswered: isUnanswered(entry, at: now))
        }
        let due = dueReview(at: now)
        if case .review = due { return due }
        guard let deadline = deadlines.first?.deadline else { return due }
        if case .wait(let moment) = due { return .wait(until: min(moment, deadline)) }
        return .wait(until: deadline)
    }

    private func isUnanswered(_ entry: Entry, at now: Instant) -> Bool {
        let silence = limits.deadline / 2
        if let begin = entry.reviewBegin, begin + silence <= now { return true }
        return inFlight > 0 && lastEnd.map { $0 + silence <= now } ?? true
    }

    /// Records the end of a review, with a verdict or without.
    package mutating func finish(_ number: UInt64, _ verdict: Verdict?, at now: Instant) {
        guard let entry = entries.removeValue(forKey: number) else { return }
        inFlight -= 1
        inFlightOfRefused.remove(number)
        lastEnd = now
        guard var source = sources[entry.source] else { return }
        source.inFlight -= 1
        source.lastUse = now
        if let verdict {
            source.lastVerdict = verdict
            source.effort = source.waiting.count
            if verdict == .good { source.hasBeenGood = true }
        }
        sources[entry.source] = source
    }

    // MARK: - Order

    /// Returns the claim to displace if there are too many: the last one of the given source if that has too many, else
    /// of the source that would be reviewed last.
    private mutating func loser(for name: String) -> UInt64? {
        guard let source = sources[name] else { return nil }
        if source.waiting.count > limits.waitingPerSource { return source.waiting.last }
        guard waiting > limits.waiting else { return nil }
        // A flood's claims usually rank below the waiting ones. A comparison with the source found by the previous
        // search shows it without another search.
        if let last, last != name, waitingSources.contains(last), let last = sources[last], last.rank < source.rank {
            return source.waiting.last
        }
        var worst = (name: name, rank: source.rank)
        for other in waitingSources {
            if let rank = sources[other]?.rank, worst.rank < rank { worst = (other, rank) }
        }
        last = worst.name
        return sources[worst.name]?.waiting.last
    }

    private mutating func dueReview(at now: Instant) -> Step {
        guard inFlight < limits.inFlight, !waitingSources.isEmpty else { return .idle }
        if let nextReview, now < nextReview { return .wait(until: nextReview) }
        var earliest: Instant?
        var first: (name: String, source: Source)?
        for name in waitingSources {
            guard let source = sources[name], mayBegin(source) else { continue }
            let due = due(source)
            if let due, now < due {
                earliest = min(earliest ?? due, due)
            } else if first.map({ source.rank < $0.source.rank }) ?? true {
                first = (name, source)
            }
        }
        if let first { return begin(first.name, first.source, now) }
        return earliest.map { .wait(until: $0) } ?? .idle
    }

    private func mayBegin(_ source: Source) -> Bool {
        source.inFlight < limits.inFlightPerSource
            && (source.standing != .refused || inFlightOfRefused.count < limits.inFlightOfRefused)
    }

    private func due(_ source: Source) -> Instant? {
        let own = source.lastReview.map { $0 + limits.intervalPerSource }
        guard source.standing == .refused, let shared = nextReviewOfRefused else { return own }
        return max(own ?? shared, shared)
    }

    private mutating func begin(_ name: String, _ source: Source, _ now: Instant) -> Step {
        guard let number = source.waiting.first, let entry = entries[number] else { return .idle }
        if source.standing == .refused {
            inFlightOfRefused.insert(number)
            nextReviewOfRefused = now + limits.intervalOfRefused
        }
        stopWaiting(number, entry)
        entries[number]?.reviewBegin = now
        clock += 1
        sources[name]?.turn = clock
        sources[name]?.effort += 1
        sources[name]?.inFlight += 1
        sources[name]?.lastReview = now
        inFlight += 1
        nextReview = now + limits.interval
        return .review(entry.claim, number: number)
    }

    // MARK: - Forgetting

    private mutating func stopWaiting(_ number: UInt64, _ entry: Entry) {
        waiting -= 1
        sources[entry.source]?.waiting.removeAll { $0 == number }
        if entry.wasGood { sources[entry.source]?.waitingGood -= 1 }
        if sources[entry.source]?.waiting.isEmpty ?? true { waitingSources.remove(entry.source) }
    }

    private mutating func forgetSources(at now: Instant) {
        while let (name, moment) = uses.first, moment + limits.memory <= now {
            uses.removeFirst()
            guard let source = sources[name] else { continue }
            if source.isIdle, source.lastUse + limits.memory <= now {
                sources[name] = nil
            } else {
                uses.append((name, source.isIdle ? source.lastUse : now))
            }
        }
    }

    /// Makes room for a new source: at the limit, forgets the idle source with the earliest use.
    private mutating func makeRoom() {
        guard sources.count >= limits.remembered else { return }
        for _ in 0..<uses.count {
            guard let (name, moment) = uses.popFirst() else { return }
            if sources[name]?.isIdle ?? true {
                sources[name] = nil
                return
            }
            uses.append((name, moment))
        }
    }
}
