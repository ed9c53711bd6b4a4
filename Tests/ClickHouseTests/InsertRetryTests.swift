// SPDX-License-Identifier: Apache-2.0

import HTTPClient
import TestSupport
import Testing

@testable import ClickHouse
@testable import Retry

private let transient = ClickHouseError.exception(code: 252, message: "too many parts")
private let unreachable = ClickHouseError.unreachable(
    endpoint: "e", HTTPError(kind: .connection, message: "refused"))
private let needsOperator = ClickHouseError.exception(code: 60, message: "no table")
private let proxy = ClickHouseError.unexpectedAnswer(endpoint: "e", status: 503, body: "")
private func asking(_ wait: Duration) -> ClickHouseError {
    .unexpectedAnswer(endpoint: "e", status: 429, body: "", retryAfter: wait)
}
private let refusal = ClickHouseError.exception(code: 117, message: "incorrect data")
private let tooLarge = ClickHouseError.unexpectedAnswer(endpoint: "e", status: 413, body: "")
private let view = ClickHouseError.failingView(name: "d.v", code: 395, message: "thrown")
private let busyView = ClickHouseError.failingView(name: "d.v", code: 241, message: "no memory")
private let otherRefusal = ClickHouseError.exception(code: 27, message: "cannot parse")

/// A retry with a seeded generator, and shorthands for its steps.
private final class RetryUnderTest {
    var retry: InsertRetry
    var generator = SeededGenerator(seed: 1)

    init(endpoints: Int = 1) {
        retry = InsertRetry(
            endpoints: endpoints, transient: Backoff(initial: .milliseconds(100), maximum: .seconds(10)),
            slow: Backoff(initial: .seconds(100), maximum: .seconds(1000)))
    }

    func failed(_ error: ClickHouseError, mayReject: Bool = true) -> InsertRetry.Step {
        failed(error, InsertRetry.Choices(mayReject: mayReject))
    }

    func failed(
        _ error: ClickHouseError, _ choices: InsertRetry.Choices, at now: ContinuousClock.Instant = .now
    ) -> InsertRetry.Step {
        retry.failed(error, choices, at: now, using: &generator)
    }

    /// Returns the delay after an error; nil if there is none.
    func wait(_ error: ClickHouseError, mayReject: Bool = true) -> Duration? {
        if case .wait(let duration, _) = failed(error, mayReject: mayReject) { duration } else { nil }
    }

    /// Returns the reason for the wait after the last of these errors.
    func waits(_ errors: ClickHouseError..., mayReject: Bool = true) -> InsertRetry.Wait? {
        var step: InsertRetry.Step?
        for error in errors { step = failed(error, mayReject: mayReject) }
        return if case .wait(_, let reason) = step { reason } else { nil }
    }
}

@Suite struct InsertRetryTests {
    @Test(
        "a transient failure is retried without limit, with waits that double up to a maximum",
        arguments: [transient, unreachable])
    func whatPassesIsTriedForEverWithGrowingWaits(
        error: ClickHouseError
    ) throws {
        let test = RetryUnderTest()
        var bound = Duration.milliseconds(100)
        for _ in 0..<1000 {
            let wait = try #require(test.wait(error))
            #expect(wait > .zero && wait <= bound)
            bound = min(bound * 2, .seconds(10))
        }
    }

    @Test("a failure that needs an operator is retried without limit, with long waits")
    func whatNeedsOperatorIsTriedForEverAndSlowly() throws {
        let test = RetryUnderTest()
        for _ in 0..<1000 { #expect(try #require(test.wait(needsOperator)) >= .seconds(10)) }
    }

    @Test("a batch is rejected after the same rejection twice") func aSecondRefusalOfTheSameKindIsTheLast() {
        let test = RetryUnderTest()
        #expect(test.wait(refusal) != nil)
        #expect(test.failed(refusal) == .reject)
    }

    @Test("other failures between two rejections do not reset their count")
    func whatLiesBetweenTwoRefusalsDoesNotCount() {
        let test = RetryUnderTest()
        #expect(test.wait(refusal) != nil)
        #expect(test.wait(transient) != nil)
        #expect(test.wait(needsOperator) != nil)
        #expect(test.failed(refusal) == .reject)
    }

    @Test("a different rejection resets the count") func anotherRefusalIsAFirstOne() {
        let test = RetryUnderTest()
        #expect(test.wait(refusal) != nil)
        #expect(test.wait(otherRefusal) != nil)
        #expect(test.wait(refusal) != nil)
        #expect(test.failed(refusal) == .reject)
    }

    @Test("while no batch may be rejected, a rejection waits for an operator")
    func whereNothingMayBeGivenUpARefusalWaitsForOperator() throws {
        let test = RetryUnderTest()
        for _ in 0..<100 { #expect(try #require(test.wait(refusal, mayReject: false)) >= .seconds(10)) }
        #expect(test.failed(refusal) == .reject)
    }

    @Test("every endpoint is tried before a wait") func everyEndpointIsAskedBeforeAWait() throws {
        let test = RetryUnderTest(endpoints: 3)
        for bound in [Duration.milliseconds(100), .milliseconds(200), .milliseconds(400)] {
            #expect(test.failed(unreachable) == .tryNextEndpoint)
            #expect(test.failed(transient) == .tryNextEndpoint)
            #expect(try #require(test.wait(unreachable)) <= bound)
        }
    }

    @Test("the wait is long only if every endpoint needs an operator")
    func aRoundIsSlowWhereEveryEndpointNeedsOperator() throws {
        let test = RetryUnderTest(endpoints: 2)
        #expect(test.failed(needsOperator) == .tryNextEndpoint)
        #expect(try #require(test.wait(unreachable)) < .seconds(1))
        #expect(test.failed(needsOperator) == .tryNextEndpoint)
        #expect(try #require(test.wait(needsOperator)) >= .seconds(10))
    }

    // MARK: - Sizes and views

    @Test("a batch that is too large is split after every endpoint was tried") func split() {
        #expect(RetryUnderTest().failed(tooLarge, .init(size: .split)) == .split)
        let test = RetryUnderTest(endpoints: 3)
        #expect(test.failed(tooLarge, .init(size: .split)) == .tryNextEndpoint)
        #expect(test.failed(unreachable, .init(size: .split)) == .tryNextEndpoint)
        #expect(test.failed(needsOperator, .init(size: .split)) == .split)
    }

    @Test("a batch that is too large and may be stored is set aside for an operator") func keep() {
        let test = RetryUnderTest()
        for _ in 0..<10 {
            guard case .setAside(_, .forOperator) = test.failed(tooLarge, .init(size: .keep)) else {
                Issue.record("the batch is not set aside")
                return
            }
        }
    }

    @Test("a single row that is too large is rejected after two attempts") func singleRow() {
        let test = RetryUnderTest()
        #expect(test.wait(tooLarge) != nil)
        #expect(test.failed(tooLarge) == .reject)
        #expect(RetryUnderTest().waits(tooLarge, tooLarge, mayReject: false) == .forOperator)
    }

    @Test("views are ignored once they have failed for the limit, with any number of attempts and endpoints")
    func leaveOut() {
        let (test, start) = (RetryUnderTest(endpoints: 5), ContinuousClock.now)
        for second in 0..<10 {
            #expect(test.failed(view, .init(viewLimit: .seconds(10)), at: start + .seconds(second)) != .ignoreViews)
        }
        #expect(test.failed(view, .init(viewLimit: .seconds(10)), at: start + .seconds(10)) == .ignoreViews)
        #expect(RetryUnderTest(endpoints: 2).failed(view, .init(viewLimit: .zero)) == .ignoreViews)
        guard case .wait(_, .forClickHouse) = RetryUnderTest().failed(view, .init(viewLimit: .seconds(10))) else {
            Issue.record("the batch does not wait for ClickHouse")
            return
        }
    }

    @Test("transient failures of a view do not shorten the limit of a broken view")
    func passingFailures() {
        let (test, start) = (RetryUnderTest(), ContinuousClock.now)
        for second in 0..<600 {
            let step = test.failed(busyView, .init(viewLimit: .seconds(600)), at: start + .seconds(second))
            guard case .wait(_, .forClickHouse) = step else {
                Issue.record("the batch does not wait for ClickHouse")
                return
            }
        }
        #expect(test.failed(view, .init(viewLimit: .seconds(10)), at: start + .seconds(599)) != .ignoreViews)
        #expect(test.failed(busyView, .init(viewLimit: .seconds(600)), at: start + .seconds(600)) == .ignoreViews)
        // If views are never left out, the failure is still not an operator's.
        #expect(RetryUnderTest().waits(busyView, busyView, busyView) == .forClickHouse)
    }

    @Test("an outage of ClickHouse does not count towards the limit of a view's failures") func outage() {
        let (test, start) = (RetryUnderTest(), ContinuousClock.now)
        func fail(_ error: ClickHouseError, at second: Int) -> InsertRetry.Step {
            test.failed(error, .init(viewLimit: .seconds(600)), at: start + .seconds(second))
        }
        #expect(fail(busyView, at: 0) != .ignoreViews)
        #expect(fail(busyView, at: 10) != .ignoreViews)
        for second in stride(from: 20, to: 1_200, by: 20) { #expect(fail(unreachable, at: second) != .ignoreViews) }
        #expect(fail(busyView, at: 1_200) != .ignoreViews)
        #expect(fail(busyView, at: 1_789) != .ignoreViews)
        #expect(fail(busyView, at: 1_790) == .ignoreViews)
    }

    @Test("an endpoint that is down does not reset the limit of a view's failures", arguments: [true, false])
    func oneEndpointDown(isFirst: Bool) {
        let (test, start) = (RetryUnderTest(endpoints: 2), ContinuousClock.now)
        for second in 0..<10 {
            for error in isFirst ? [unreachable, view] : [view, unreachable] {
                let step = test.failed(error, .init(viewLimit: .seconds(10)), at: start + .seconds(second))
                #expect(step != .ignoreViews)
            }
        }
        if isFirst { _ = test.failed(unreachable, .init(viewLimit: .seconds(10)), at: start + .seconds(10)) }
        #expect(test.failed(view, .init(viewLimit: .seconds(10)), at: start + .seconds(10)) == .ignoreViews)
    }

    @Test("a failing view that is never ignored needs an operator") func neverLeftOut() {
        #expect(RetryUnderTest().waits(view, view, view) == .forOperator)
    }

    // MARK: - Reasons for waits

    @Test("the reason of a wait follows from the failures of all endpoints")
    func whatIsWaitedForFollowsFromWhatAllEndpointsSaid() {
        #expect(RetryUnderTest().waits(needsOperator) == .forOperator)
        #expect(RetryUnderTest().waits(refusal, mayReject: false) == .forOperator)
        #expect(RetryUnderTest().waits(refusal) == .forClickHouse)
        #expect(RetryUnderTest().waits(transient) == .forClickHouse)
        #expect(RetryUnderTest().waits(unreachable) == .forConnection)
        #expect(RetryUnderTest().waits(proxy) == .forConnection)
        #expect(RetryUnderTest(endpoints: 2).waits(unreachable, needsOperator) == .forClickHouse)
        #expect(RetryUnderTest(endpoints: 2).waits(unreachable, transient) == .forClickHouse)
        #expect(RetryUnderTest(endpoints: 2).waits(unreachable, proxy) == .forConnection)
        #expect(RetryUnderTest(endpoints: 2).waits(needsOperator, needsOperator) == .forOperator)
    }

    @Test("the delay in Retry-After is kept, once") func whatAnEndpointAsksForIsWaited() throws {
        let test = RetryUnderTest()
        #expect(test.failed(asking(.seconds(7))) == .wait(.seconds(7), .asAsked))
        // The delay that the last round asked for no longer applies.
        #expect(try #require(test.wait(unreachable)) <= .milliseconds(200))
        #expect(test.waits(unreachable) == .forConnection)
    }

    @Test("the delay in Retry-After is limited to a minute") func nobodyMayAskForMoreThanAMinute() {
        #expect(RetryUnderTest().failed(asking(.seconds(3600))) == .wait(.seconds(60), .asAsked))
    }

    @Test("a Retry-After shorter than the current wait does not shorten it")
    func aWaitThatHasGrownBeyondWhatIsAskedStays() throws {
        let test = RetryUnderTest()
        for _ in 0..<20 { _ = test.failed(transient) }
        let waits = (0..<50).compactMap { _ in test.wait(asking(.milliseconds(1))) }
        #expect(try #require(waits.min()) >= .seconds(1))
    }

    @Test("of several Retry-After delays, the shortest counts") func ofWhatSeveralEndpointsAskForTheLeastIsWaited() {
        let test = RetryUnderTest(endpoints: 3)
        #expect(test.failed(asking(.seconds(9))) == .tryNextEndpoint)
        #expect(test.failed(unreachable) == .tryNextEndpoint)
        #expect(test.failed(asking(.seconds(7))) == .wait(.seconds(7), .asAsked))
    }
}
