// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack

/// Turns on the kernel's accounting and exits: a privileged step before the agent, which then needs only CAP_NET_ADMIN.
struct EnableAccounting: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable-accounting",
        abstract: "Makes this host's kernel count what connections carry, and exits.",
        discussion: """
            Sets net.netfilter.nf_conntrack_acct and net.netfilter.nf_conntrack_events to 1. Without events the last bytes \
            of ended connections are missed; where events are 2, the kernel's default, those of connections that begin \
            while no agent runs. Connections that exist already never count. It reads no settings.

            It exits with 0 where accounting is on and events are not 0 at the end, with 1 otherwise, and says what to do.
            """)

    func run() throws {
        let settings = ConntrackSettings()
        let wasCounting = settings.isAccountingEnabled
        if wasCounting != true { try settings.enableAccounting() }
        print(
            wasCounting == true
                ? "net.netfilter.nf_conntrack_acct is on already"
                : "turned on net.netfilter.nf_conntrack_acct; connections that exist already never count")
        guard settings.canSendEvents else {
            print("this kernel has no CONFIG_NF_CONNTRACK_EVENTS: connections shorter than an interval are not counted")
            return
        }
        let events = settings.events
        guard events != 1 else { return }
        do {
            try settings.enableEvents()
            print("set net.netfilter.nf_conntrack_events to 1; connections that exist already keep what they had")
        } catch {
            // With 2, entries created while an agent runs send events; only entries created between two agents send
            // none.
            guard events == 2 else { throw error }
        }
    }
}
