// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Operations

@main
struct KubenetmonAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kubenetmon-agent",
        abstract: "Sends what this node's connections have carried to a kubenetmon-server.",
        discussion: """
            Reads and zeroes the kernel's conntrack table once an interval; needs the capability CAP_NET_ADMIN. Every \
            setting is also an environment variable; a flag wins. Durations are written like 5s, 1m30s or 500ms.
            """,
        version: Daemon.version)

    @Flag(help: "Check the settings, print each with its value and where that comes from, and exit: 0 if all is well.")
    var checkConfig = false
    @Flag(help: .hidden)
    var printReference = false
    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp(
            "Settings, each written --name value.", discussion: declarations.help(hasFile: false),
            valueName: "settings"))
    var settings: [String] = []

    /// Every setting with its default.
    static var declarations: EffectiveSettings {
        SettingsReader.declarations { _ = AgentConfiguration(&$0) }
    }

    func run() async throws {
        if printReference { return print(Self.declarations.markdown(hasFile: false)) }
        let sources = SettingsSources(arguments: settings, environment: ProcessEnvironment.variables)
        let configuration: AgentConfiguration
        let effective: EffectiveSettings
        do throws(SettingsProblems) {
            (configuration, effective) = try SettingsReader.read(sources) { AgentConfiguration(&$0) }
        } catch {
            throw ValidationError("\(error)")
        }
        if checkConfig { return print(effective.description) }
        // Files are read anew when they change; there is nothing that a signal could add.
        signal(SIGHUP, SIG_IGN)
        try await Agent(configuration, warnings: effective.warnings).run()
    }
}

/// The process's environment, without Foundation.
private enum ProcessEnvironment {
    static var variables: [String: String] {
        var variables: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return variables
    }
}
