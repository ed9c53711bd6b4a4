// SPDX-License-Identifier: Apache-2.0

import Conntrack
import Foundation
import TestSupport
import Testing

@Suite struct ConntrackSettingsTests {
    @Test("accounting is read and turned on in the current network namespace")
    func accountingOfTheOwnNamespaceIsReadAndTurnedOn() async throws {
        let (states, setting) = try await NetworkNamespace.run {
            var states = [ConntrackSettings().isAccountingEnabled]
            try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_acct=0")
            states.append(ConntrackSettings().isAccountingEnabled)
            try ConntrackSettings().enableAccounting()
            states.append(ConntrackSettings().isAccountingEnabled)
            return (states, try NetworkNamespace.shell("sysctl -n net.netfilter.nf_conntrack_acct"))
        }
        #expect(states == [true, false, true])
        #expect(setting == "1\n")
    }

    @Test("the event setting and the table's size and limit are read")
    func eventsAndTheTablesSizeAreRead() async throws {
        let (events, count, maximum, settings) = try await NetworkNamespace.run {
            var events: [Int?] = []
            for value in [0, 1, 2] {
                try NetworkNamespace.shell("sysctl -qw net.netfilter.nf_conntrack_events=\(value)")
                events.append(ConntrackSettings().events)
            }
            try NetworkNamespace.shell(
                "for port in 1 2 3; do conntrack -I -p udp -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport $port --dport 53; done"
            )
            // The maximum is shared by all namespaces, so another process may change it at any moment.
            let before = try NetworkNamespace.shell("sysctl -n net.netfilter.nf_conntrack_max")
            let maximum = ConntrackSettings().maximum.map { "\($0)\n" } ?? ""
            let after = try NetworkNamespace.shell("sysctl -n net.netfilter.nf_conntrack_max")
            return (events, ConntrackSettings().count, maximum, [before, after])
        }
        #expect(events == [0, 1, 2])
        #expect(count == 3)
        #expect(settings.contains(maximum))
    }

    @Test("accounting without the setting nf_conntrack_events means that the kernel sends no events")
    func aKernelWithoutEvents() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let settings = ConntrackSettings(directory: directory.path)
        #expect(settings.events == nil && settings.canSendEvents)
        try "1\n".write(to: directory.appending(path: "nf_conntrack_acct"), atomically: true, encoding: .utf8)
        #expect(settings.events == 0 && !settings.canSendEvents)
        try "2\n".write(to: directory.appending(path: "nf_conntrack_events"), atomically: true, encoding: .utf8)
        #expect(settings.events == 2 && settings.canSendEvents)
        try settings.enableEvents()
        #expect(settings.events == 1)
    }
}
