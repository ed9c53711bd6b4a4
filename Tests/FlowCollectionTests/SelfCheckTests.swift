// SPDX-License-Identifier: Apache-2.0

import FlowCollection
import Logging
import Testing

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

private let conditions = [SelfCheck.Condition("power"), SelfCheck.Condition("shared", isAdvisory: true), .counters]

@Suite struct SelfCheckTests {
    @Test(
        "a table that never counted is a problem once the node is up for long enough",
        arguments: [
            (5, false, true, Duration.zero, true),
            // No entries, entries that have counted, the check skipped, an agent that is too young.
            (0, false, true, .zero, false), (5, true, true, .zero, false), (5, false, false, .zero, false),
            (5, false, true, .seconds(1_000_000_000), false),
        ])
    func aTableThatNeverCountedIsAProblemOnceTheNodeIsOldEnough(
        entries: Int, everCounted: Bool, checksCounters: Bool, uptimeWait: Duration, isProblem: Bool
    ) {
        let check = SelfCheck(
            conditions: conditions, uptimeWait: uptimeWait, neverCounted: checksCounters ? "is it on?" : nil,
            logger: quiet)
        check.look(reader: [:], entries: entries, everCounted: everCounted)
        #expect(check.problems == (isProblem ? [.counters: "is it on?"] : [:]))
    }

    @Test("a problem lasts until the reader, or its reporter, no longer finds it")
    func problemsLast() {
        let check = SelfCheck(conditions: conditions, uptimeWait: .zero, neverCounted: nil, logger: quiet)
        check.report(conditions[1], "two")
        check.look(reader: [conditions[0]: "off"])
        #expect(check.problems == [conditions[0]: "off", conditions[1]: "two"])
        check.look(reader: [:])
        #expect(check.problems == [conditions[1]: "two"])
        check.report(conditions[1], nil)
        #expect(check.problems == [:])
    }

    @Test("a problem is logged as an error whenever its text changes, an advisory one as a notice once")
    func levels() {
        let log = RecordedLog()
        let check = SelfCheck(conditions: conditions, uptimeWait: .zero, neverCounted: nil, logger: log.logger)
        for text in ["a", "a", "b"] { check.look(reader: [conditions[0]: text, conditions[1]: text]) }
        check.look(reader: [:])
        #expect(
            log.lines == [
                "error self-check: a check=power", "notice self-check: a check=shared",
                "error self-check: b check=power", "notice self-check passed again check=power",
                "notice self-check passed again check=shared",
            ])
    }
}
