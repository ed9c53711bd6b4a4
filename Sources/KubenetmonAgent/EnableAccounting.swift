// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack

/// Makes the kernel count, and ends: for a privileged step before the agent, which then needs no more than CAP_NET_ADMIN.
struct EnableAccounting: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable-accounting",
        abstract: "Makes this host's kernel count what connections carry, and exits.",
        discussion: """
            Sets net.netfilter.nf_conntrack_acct to 1 where it is 0, and so net.netfilter.nf_conntrack_events, without which \
            ended connections are not told of. Connections that exist already never count. Nothing is changed where both \
            are on. It reads no settings.

            It exits with 0 where both are on at the end, with 1 where they are not, and says what to do.
            """)

    func run() throws {
        let wasCounting = ConntrackSettings.isAccountingEnabled
        if wasCounting != true { try ConntrackSettings.enableAccounting() }
        print(
            wasCounting == true
                ? "net.netfilter.nf_conntrack_acct is on already"
                : "turned on net.netfilter.nf_conntrack_acct; connections that exist already never count")
        // A kernel without the setting always tells.
        guard ConntrackSettings.events == 0 else { return }
        try ConntrackSettings.enableEvents()
        print("turned on net.netfilter.nf_conntrack_events; connections that exist already do not tell of their end")
    }
}
