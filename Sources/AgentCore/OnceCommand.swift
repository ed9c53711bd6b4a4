// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Conntrack
import FlowModel
import Glibc
import Settings

/// Prints what the node's connections carry, in a form for people. It may run beside an agent: counters are unchanged.
struct OnceCommand {
    private let protocols: [TransportProtocol]
    private let interval: Duration

    /// Reads the settings of this command.
    init(_ settings: inout SettingsReader) {
        protocols = AgentConfiguration.protocols(&settings)
        interval = settings.duration(
            "collection_interval", in: .milliseconds(1) ... .seconds(3600), default: .seconds(1),
            "Time between the two reads from which rates are computed.")
    }

    /// Returns the sources of the settings, without the environment's interval: in a pod, it is that of the agent.
    static func sources(arguments: [String], environment: [String: String]) -> SettingsSources {
        SettingsSources(arguments: arguments, environment: environment.filter { $0.key != "COLLECTION_INTERVAL" })
    }

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        if ConntrackSettings().isAccountingEnabled == false {
            throw AccountingIsOff()
        }
        var table = try ConntrackTable()
        let observation = try await ConnectionObservation.make(
            &table, FlowFilter(transports: protocols), over: interval)
        let listing = ConnectionListing(observation)
        do throws(TextOutput.Failure) {
            var output = TextOutput(STDOUT_FILENO)
            try listing.forEachLine { line throws(TextOutput.Failure) in try output.write(line) }
            try output.flush()
            var notes = TextOutput(STDERR_FILENO)
            for note in listing.notes { try notes.write(note + "\n") }
            try notes.flush()
        } catch {
            // The reader has closed the pipe, which is no error.
            guard error.code == EPIPE else { throw error }
        }
    }
}

/// The error when the kernel does not count, so that there is nothing to show.
struct AccountingIsOff: Error, CustomStringConvertible {
    let description = """
        the kernel does not count: net.netfilter.nf_conntrack_acct is 0. Turn it on as root on the node with \
        `kubenetmon-agent enable-accounting` or sysctl; only connections opened after that have counters
        """
}
