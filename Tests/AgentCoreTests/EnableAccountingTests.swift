// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@Suite struct EnableAccountingTests {
    private static let program = Repository.program("kubenetmon-agent").path

    /// Prints the program's output, its exit code and the settings, in this order.
    private static let tell = """
        \(program) enable-accounting && echo "code $?" || echo "code $?"
        sysctl net.netfilter.nf_conntrack_acct net.netfilter.nf_conntrack_events
        """

    @Test("enable-accounting turns on accounting and events, and then reports that they are on")
    func whatIsOffIsTurnedOnOnce() async throws {
        let (first, second) = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                "sysctl -qw net.netfilter.nf_conntrack_acct=0 net.netfilter.nf_conntrack_events=0")
            return (try NetworkNamespace.shell(Self.tell), try NetworkNamespace.shell(Self.tell))
        }
        let settings = "net.netfilter.nf_conntrack_acct = 1\nnet.netfilter.nf_conntrack_events = 1\n"
        #expect(first.hasPrefix("turned on net.netfilter.nf_conntrack_acct; "))
        #expect(first.contains("set net.netfilter.nf_conntrack_events to 1; "))
        #expect(first.hasSuffix("code 0\n" + settings))
        #expect(second == "net.netfilter.nf_conntrack_acct is already on\ncode 0\n" + settings)
    }

    @Test("enable-accounting changes nf_conntrack_events from 2 to 1")
    func eventsThatAreTheKernelsDefaultBecomeThoseOfAllEntries() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                "sysctl -qw net.netfilter.nf_conntrack_acct=0 net.netfilter.nf_conntrack_events=2")
            return try NetworkNamespace.shell(Self.tell)
        }
        #expect(
            output.hasSuffix("code 0\nnet.netfilter.nf_conntrack_acct = 1\nnet.netfilter.nf_conntrack_events = 1\n"))
    }

    /// Container runtimes mount `/proc/sys` read-only too.
    @Test("a read-only /proc/sys is an error only if accounting is off", arguments: [0, 1])
    func settingsThatCannotBeWrittenAreAProblemOnlyWhereTheyAreOff(_ accounting: Int)
        async throws
    {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                sysctl -qw net.netfilter.nf_conntrack_acct=\(accounting)
                unshare --mount sh -c '
                    mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
                    \(Self.program) enable-accounting; echo "code $?"'
                """)
        }
        if accounting == 1 {
            #expect(output == "net.netfilter.nf_conntrack_acct is already on\ncode 0\n")
        } else {
            #expect(output.hasPrefix("Error: writing 1 to /proc/sys/net/netfilter/nf_conntrack_acct: "))
            #expect(output.contains("Read-only file system") && output.contains("privileged"))
            #expect(output.hasSuffix("\ncode 1\n"))
        }
    }

    @Test("enable-accounting without conntrack names the module to load and exits with 1")
    func whereThereIsNoConntrackItSaysWhatToDo() async throws {
        let output = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                unshare --mount sh -c '
                    mount -t tmpfs none /proc/sys/net
                    \(Self.program) enable-accounting; echo "code $?"'
                """)
        }
        #expect(output.contains("load the module nf_conntrack") && output.hasSuffix("\ncode 1\n"))
    }

    @Test("enable-accounting rejects flags and exits with 64; --help names the command")
    func itTakesNoSettings() async throws {
        let output = try await ChildProcess.shell(
            "\(Self.program) enable-accounting --node-name a 2>&1 || echo \"code $?\"; \(Self.program) --help")
        #expect(output.contains("code 64\n"))
        #expect(output.contains("enable-accounting"))
    }
}
