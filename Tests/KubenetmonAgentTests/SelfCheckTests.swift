// SPDX-License-Identifier: Apache-2.0

import Logging
import TestSupport
import Testing

@testable import KubenetmonAgent

private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

@Suite struct SelfCheckTests {
    @Test func aKernelThatDoesNotCountOrTellIsAProblemUntilItDoes() async throws {
        let found = try await NetworkNamespace.run {
            let check = SelfCheck(uptimeWait: .zero, checksCounters: true, logger: quiet)
            func look(_ settings: String...) throws -> [String] {
                for setting in settings {
                    try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_\(setting)")
                }
                check.look()
                return check.problems.map { "\($0.key.rawValue): \($0.value)" }.sorted()
            }
            return [
                try look("acct=1", "events=1"), try look("acct=0"), try look("events=0"),
                try look("acct=1", "events=2"),
            ]
        }
        #expect(found[0] == [])
        #expect(found[1].count == 1 && found[1][0].hasPrefix("accounting: "))
        #expect(found[1][0].contains("net.netfilter.nf_conntrack_acct=1"))
        #expect(found[2].count == 2 && found[2][1].hasPrefix("events: "))
        #expect(found[2][1].contains("net.netfilter.nf_conntrack_events=1"))
        #expect(found[3] == [])
    }

    @Test(arguments: [
        (5, false, true, Duration.zero, true),
        // No entries, some that counted, not asked for, a node that is too young.
        (0, false, true, .zero, false), (5, true, true, .zero, false), (5, false, false, .zero, false),
        (5, false, true, .seconds(1_000_000_000), false),
    ])
    func aTableThatNeverCountedIsAProblemOnceTheNodeIsOldEnough(
        entries: Int, everCounted: Bool, checksCounters: Bool, uptimeWait: Duration, isProblem: Bool
    ) async throws {
        let problems = try await NetworkNamespace.run {
            let check = SelfCheck(uptimeWait: uptimeWait, checksCounters: checksCounters, logger: quiet)
            check.look(SelfCheck.Findings(entries: entries, everCounted: everCounted))
            return check.problems.keys.map(\.rawValue)
        }
        #expect(problems == (isProblem ? ["counters"] : []))
    }

    @Test("Another reader is reported while it is fresh, zones while they are shared")
    func otherReadersAndZones() async throws {
        let found = try await NetworkNamespace.run {
            let check = SelfCheck(uptimeWait: .seconds(300), checksCounters: true, logger: quiet)
            func look(_ findings: SelfCheck.Findings) -> [String] {
                check.look(findings)
                return check.problems.map { "\($0.key.rawValue): \($0.value)" }.sorted()
            }
            return [
                look(.init(foreignResets: 0)), look(.init(foreignResets: 2)), look(.init(foreignResets: 2)),
                look(.init(foreignResets: 2, zones: "3 and 7")),
            ]
        }
        #expect(found[0] == [])
        #expect(found[1].count == 1 && found[1][0].hasPrefix("sole_reader: "))
        #expect(found[2] == found[1])
        #expect(found[3].count == 2 && found[3][1].contains("zones: ") && found[3][1].contains("3 and 7"))
    }
}
