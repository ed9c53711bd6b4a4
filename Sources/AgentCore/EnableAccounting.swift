// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack

/// Turns on the kernel's accounting and exits: a privileged step before the agent, which then needs only CAP_NET_ADMIN.
struct EnableAccounting: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable-accounting",
        abstract: "Turn on the kernel's conntrack accounting and events on this host, and exit.",
        discussion: """
            Sets net.netfilter.nf_conntrack_acct and net.netfilter.nf_conntrack_events to 1. With events at 0, the \
            last bytes of ended connections are missed; with events at 2, the kernel's default, only those of \
            connections that begin while no agent runs. Existing connections are never counted. The command reads no \
            settings.

            The exit status is 0 if accounting is on and events are not 0 at the end, and 1 with a remedy otherwise.
            """)

    func run() throws {
        let settings = ConntrackSettings()
        let wasCounting = settings.isAccountingEnabled
        if wasCounting != true { try settings.enableAccounting() }
        print(
            wasCounting == true
                ? "net.netfilter.nf_conntrack_acct is already on"
                : "turned on net.netfilter.nf_conntrack_acct; existing connections are never counted")
        guard settings.canSendEvents else {
            print("this kernel has no CONFIG_NF_CONNTRACK_EVENTS: connections shorter than an interval are not counted")
            return
        }
        let events = settings.events
        guard events != 1 else { return }
        do {
            try settings.enableEvents()
            print("set net.netfilter.nf_conntrack_events to 1; existing connections keep their previous setting")
        } catch {
            // With 2, entries created while an agent runs send events; only entries created between two agents send
            // none.
            guard events == 2 else { throw error }
        }
    }
}
