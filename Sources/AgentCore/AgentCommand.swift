// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import Glibc
import Operations

/// The agent's command line.
package struct AgentCommand: AsyncParsableCommand {
    /// The command's name and help.
    package static let configuration = CommandConfiguration(
        commandName: "kubenetmon-agent",
        abstract: "Sends what this node's connections have carried to a kubenetmon-server.",
        discussion: """
            Reads and zeroes the kernel's conntrack table once an interval; needs the capability CAP_NET_ADMIN. Every \
            setting is also an environment variable; a flag wins. Durations are written like 5s, 1m30s or 500ms.

            It exits with 0 after SIGTERM, with 64 where settings are wrong, and with 1 where the kernel or a port refuses.
            """,
        version: Daemon.version, subcommands: [EnableAccounting.self])

    @Flag(
        help: """
            Check the settings and the files that they name, print each setting with its value and where that comes from, \
            and exit: 0 if all is well, 64 if not.
            """)
    var checkConfig = false
    @Flag(
        help: """
            Print what the node's connections have carried and how much a second, the busiest first, and exit. Looks at the \
            table twice, a second or --collection-interval apart, and changes nothing: an agent may run beside it. > is \
            from source to destination, < is back; a line "reply" shows what replies carry where addresses are \
            translated. Packets and bytes are those since the connection began or an agent last read it; K, M and G are \
            powers of 1000. Takes no other settings than --protocols.
            """)
    var once = false
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

    /// Makes a command without arguments.
    package init() {}

    /// Runs the command that the process's arguments name, and exits if it fails.
    package static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        // `settings` captures all unrecognized arguments, which would include a subcommand's name.
        if arguments.first == EnableAccounting.configuration.commandName {
            EnableAccounting.main(Array(arguments.dropFirst()))
        } else {
            await main(Array(arguments))
        }
    }

    /// Runs the agent until it is told to stop, or performs the action of a flag.
    package func run() async throws {
        if printReference { return print(Self.declarations.markdown(hasFile: false)) }
        let environment = ProcessEnvironment.variables
        if once {
            let sources = OnceCommand.sources(arguments: settings, environment: environment)
            return try await read(sources) { OnceCommand(&$0) }.value.run()
        }
        let sources = SettingsSources(arguments: settings, environment: environment)
        let (configuration, effective) = try read(sources) { AgentConfiguration(&$0) }
        if checkConfig { return try check(configuration, effective) }
        // Changed files are reloaded without a signal, so SIGHUP is ignored.
        signal(SIGHUP, SIG_IGN)
        try await Agent(configuration, warnings: effective.warnings).run()
    }

    private func check(_ configuration: AgentConfiguration, _ effective: EffectiveSettings) throws {
        print(effective.description)
        let problems = configuration.problemsOfFiles
        guard problems.isEmpty else { throw ValidationError(problems.joined(separator: "\n")) }
    }

    private func read<Value>(
        _ sources: SettingsSources, _ body: (inout SettingsReader) -> Value
    ) throws -> (value: Value, settings: EffectiveSettings) {
        do throws(SettingsProblems) {
            return try SettingsReader.read(sources, body)
        } catch {
            throw ValidationError("\(error)")
        }
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
