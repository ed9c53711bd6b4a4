// SPDX-License-Identifier: Apache-2.0

/// How much of the API server and of memory claims may take.
struct ReviewLimits: Sendable {
    /// Time between two reviews.
    var interval = Duration.milliseconds(20)
    /// Time between two reviews for one source.
    var intervalPerSource = Duration.milliseconds(100)
    /// Claims that wait: as many as a cluster has agents when a server starts.
    var waiting = 4_096
    /// Claims that wait from one source: those of agents behind one address translation, for about three seconds.
    var waitingPerSource = 32
    /// Reviews at the same time; one takes a few milliseconds as a rule.
    var inFlight = 4
    /// Reviews at the same time for one source, so that hanging ones leave some to others.
    var inFlightPerSource = 2
}

/// The claims that wait for the API server, and which of them it is asked about next.
///
/// Sources take turns, so that one with many claims waits for itself; each has ten reviews a second at most, all together
/// fifty, evenly spaced. A source is forgotten once its last review is a tenth of a second ago.
struct ReviewQueue<Claim> {
    typealias Instant = ContinuousClock.Instant

    /// What is to be done.
    enum Step {
        case review(Claim, source: String)
        /// Nothing before that moment.
        case wait(until: Instant)
        /// Nothing before a claim is added or a review ends.
        case idle
    }

    private struct Source {
        /// In the order in which they came.
        var claims: [Claim] = []
        var inFlight = 0
        var nextReview: Instant?

        var isForgettable: Bool { claims.isEmpty && inFlight == 0 && nextReview == nil }
    }

    private let limits: ReviewLimits
    private var sources: [String: Source] = [:]
    /// Sources whose claims wait, the one whose turn is next first.
    private var turns: [String] = []
    /// Sources that have had a review within the interval, and until when that counts, the earliest first.
    private var recent: [(source: String, until: Instant)] = []
    private var waiting = 0
    private var inFlight = 0
    private var nextReview: Instant?

    init(_ limits: ReviewLimits = ReviewLimits()) { self.limits = limits }

    /// The number of sources of which something is remembered.
    var sourceCount: Int { sources.count }

    /// Adds a claim; false where there is no room for it.
    mutating func add(_ claim: Claim, from name: String) -> Bool {
        var source = sources[name] ?? Source()
        guard waiting < limits.waiting, source.claims.count < limits.waitingPerSource else { return false }
        if source.claims.isEmpty { turns.append(name) }
        source.claims.append(claim)
        sources[name] = source
        waiting += 1
        return true
    }

    /// Returns what is to be done now. A review begins with it.
    mutating func next(at now: Instant) -> Step {
        forget(at: now)
        guard inFlight < limits.inFlight, !turns.isEmpty else { return .idle }
        if let nextReview, now < nextReview { return .wait(until: nextReview) }
        var earliest: Instant?
        for (place, name) in turns.enumerated() {
            guard let source = sources[name], source.inFlight < limits.inFlightPerSource else { continue }
            guard let nextReview = source.nextReview else { return take(from: name, at: place, now) }
            earliest = min(earliest ?? nextReview, nextReview)
        }
        return earliest.map { .wait(until: $0) } ?? .idle
    }

    /// A review for a source has ended.
    mutating func finish(_ name: String) {
        inFlight -= 1
        sources[name]?.inFlight -= 1
        if sources[name]?.isForgettable == true { sources[name] = nil }
    }

    private mutating func take(from name: String, at place: Int, _ now: Instant) -> Step {
        var source = sources[name] ?? Source()
        let claim = source.claims.removeFirst()
        let until = now + limits.intervalPerSource
        source.inFlight += 1
        source.nextReview = until
        recent.append((name, until))
        turns.remove(at: place)
        if !source.claims.isEmpty { turns.append(name) }
        sources[name] = source
        waiting -= 1
        inFlight += 1
        nextReview = now + limits.interval
        return .review(claim, source: name)
    }

    private mutating func forget(at now: Instant) {
        let over = recent.prefix { $0.until <= now }
        for (name, _) in over {
            sources[name]?.nextReview = nil
            if sources[name]?.isForgettable == true { sources[name] = nil }
        }
        recent.removeFirst(over.count)
    }
}
