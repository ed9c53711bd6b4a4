// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import Conntrack

@Suite struct ConntrackSelfCheckTests {
    @Test("accounting or events that are off are a problem until they are on")
    func aKernelThatDoesNotCountOrTellIsAProblemUntilItDoes() async throws {
        let found = try await NetworkNamespace.run {
            let check = ConntrackSelfCheck()
            func look(_ settings: String...) throws -> [String] {
                for setting in settings {
                    try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_\(setting)")
                }
                return check.problems().map { "\($0.key.name): \($0.value)" }.sorted()
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

    @Test("another reader is a problem while its traces are recent, shared zones while they exist")
    func otherReadersAndZones() async throws {
        let found = try await NetworkNamespace.run {
            let check = ConntrackSelfCheck()
            func look(_ resets: UInt64, _ zones: String? = nil) -> [String] {
                var received = DestroyEvents.Statistics()
                (received.foreignResets, received.zones) = (resets, zones)
                return check.problems(received).map { "\($0.key.name): \($0.value)" }.sorted()
            }
            return [look(0), look(2), look(2), look(2, "3 and 7")]
        }
        #expect(found[0] == [])
        #expect(found[1].count == 1 && found[1][0].hasPrefix("sole_reader: "))
        #expect(found[2] == found[1])
        #expect(found[3].count == 2 && found[3][1].contains("zones: ") && found[3][1].contains("3 and 7"))
    }

    @Test("the conditions have the names shown in metrics, and zones is the only advisory one")
    func names() {
        #expect(
            ConntrackSelfCheck.conditions.map(\.name) == [
                "accounting", "events", "table_room", "sole_reader", "zones",
            ])
        #expect(ConntrackSelfCheck.conditions.filter(\.isAdvisory).map(\.name) == ["zones"])
    }
}
