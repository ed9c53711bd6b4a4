// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// How much of the API server and of memory claims may take.
struct ReviewLimits: Sendable {
    /// Time between two reviews.
    var interval = Duration.milliseconds(20)
    /// Time between two reviews for one source.
    var intervalPerSource = Duration.milliseconds(100)
    /// Time between two reviews for sources that have had only refusals lately: two fifths of the rate.
    var intervalOfRefused = Duration.milliseconds(50)
    /// Claims that wait: four times as many as can be reviewed before their deadline.
    var waiting = 1_024
    /// Claims that wait from one source: those of agents behind one address translation, for about three seconds.
    var waitingPerSource = 32
    /// Reviews at the same time; one takes a few milliseconds as a rule.
    var inFlight = 4
    /// Reviews at the same time for one source, so that hanging ones leave some to others.
    var inFlightPerSource = 2
    /// Reviews at the same time for sources that have had only refusals lately.
    var inFlightOfRefused = 2
    /// Time after which a claim ends without a verdict, whether it waits or its review is in flight.
    var deadline = Duration.seconds(5)
    /// Time for which a source is remembered after its last claim: twice the age that connections reach by default.
    var memory = Duration.seconds(600)
    /// Sources that are remembered, the oldest of which are forgotten first: about four megabytes of them.
    var remembered = 20_000
}

/// The claims that wait for the API server, and which of them it is asked about next.
///
/// Each source has ten reviews a second at most, all together fifty, evenly spaced. Tokens that were good and sources whose
/// last verdict was good come first, then sources without a verdict, last those that have had only refusals lately, which
/// share a part of the rate. Among equals the source comes first that has made fewer claims since its last verdict: an
/// agent has one connection, a flood many. Where there is no room, the claim that would be reviewed last gives way.
struct ReviewQueue<Claim: Sendable> {
    typealias Instant = ContinuousClock.Instant

    /// What is to be done.
    enum Step {
        /// The review of a claim begins.
        case review(Claim, number: UInt64)
        /// A claim has reached its deadline. `isUnanswered` is true where the API server does not answer: for half that time
        /// the claim's own review is in flight, or no review has ended.
        case expire(Claim, isUnanswered: Bool)
        /// Nothing before that moment.
        case wait(until: Instant)
        /// Nothing before a claim is added or a review ends.
        case idle
    }

    /// What a review has said of a token.
    enum Verdict {
        case good
        case refused
    }

    /// The place of a claim in the queue.
    struct Place: Sendable {
        let number: UInt64
        /// The claim that has given way.
        let displaced: Claim?
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
        /// When its review began; nil while it waits.
        var reviewBegin: Instant?
    }

    private struct Source {
        /// Claims whose token was good, then the others, each in the order in which they came.
        var waiting: [UInt64] = []
        /// How many of those that wait have a token that was good.
        var waitingGood = 0
        var inFlight = 0
        var lastReview: Instant?
        /// When its last claim came or its last review ended.
        var lastUse: Instant
        var lastVerdict: Verdict?
        /// True where one of the verdicts was good.
        var hasBeenGood = false
        /// Claims and reviews since the last verdict; those of claims that wait still count.
        var effort = 0
        /// Its place in the order in which sources began to wait or had a review.
        var turn: UInt64 = 0

        var isIdle: Bool { waiting.isEmpty && inFlight == 0 }

        var standing: Standing {
            if waitingGood > 0 || lastVerdict == .good { return .good }
            return lastVerdict == .refused && !hasBeenGood ? .refused : .unknown
        }

        /// The order of reviews, the first to be reviewed lowest. The newest of sources without a verdict goes first: where
        /// more come than can be reviewed in time, the oldest would all but reach their deadline.
        var rank: (Int, Int, UInt64) {
            let standing = standing
            return (standing.rawValue, effort, standing == .unknown ? .max - turn : turn)
        }
    }

    private let limits: ReviewLimits
    private var entries: [UInt64: Entry] = [:]
    private var sources: [String: Source] = [:]
    /// The sources whose claims wait.
    private var waitingSources: Set<String> = []
    /// The claims in the order of their deadlines; those that have ended are dropped when they are first.
    private var deadlines: Deque<(number: UInt64, deadline: Instant)> = []
    /// All sources, each with a moment at which it was used, the earliest first as a rule.
    private var uses: Deque<(source: String, moment: Instant)> = []
    /// The source that was the last to be reviewed when that was looked at last.
    private var last: String?
    private var waiting = 0
    private var inFlight = 0
    private var inFlightOfRefused: Set<UInt64> = []
    private var nextReview: Instant?
    private var nextReviewOfRefused: Instant?
    private var lastEnd: Instant?
    private var clock: UInt64 = 0

    init(_ limits: ReviewLimits = ReviewLimits()) { self.limits = limits }

    /// The number of sources of which something is remembered.
    var sourceCount: Int { sources.count }

    /// The number of claims that wait.
    var waitingCount: Int { waiting }

    /// Adds a claim.
    ///
    /// - Parameter wasGood: Whether the API server has called its token good before.
    /// - Returns: Its place; nil where there is no room for it.
    mutating func add(_ claim: Claim, from name: String, wasGood: Bool = false, at now: Instant) -> Place? {
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
    mutating func remove(_ number: UInt64) {
        guard let entry = entries[number], entry.reviewBegin == nil else { return }
        entries[number] = nil
        stopWaiting(number, entry)
    }

    /// Removes the claims that wait and fulfil a condition, and returns them.
    mutating func remove(where isRemoved: (Claim) -> Bool) -> [Claim] {
        let removed = entries.filter { $0.value.reviewBegin == nil && isRemoved($0.value.claim) }
        for number in removed.keys { remove(number) }
        return removed.values.map(\.claim)
    }

    /// Returns what is to be done now; a review begins with it.
    mutating func next(at now: Instant) -> Step {
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

    /// A review has ended, with a verdict or without.
    mutating func finish(_ number: UInt64, _ verdict: Verdict?, at now: Instant) {
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

    /// The claim that gives way where there are too many: of the source where it has too many, or of the one that would be
    /// reviewed last.
    private mutating func loser(for name: String) -> UInt64? {
        guard let source = sources[name] else { return nil }
        if source.waiting.count > limits.waitingPerSource { return source.waiting.last }
        guard waiting > limits.waiting else { return nil }
        // A flood's claims are worse than those that wait as a rule: that is told without looking at all of them.
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

    /// Forgets the source that was used first, of those of which nothing waits, where as many are remembered as may be.
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
