// SPDX-License-Identifier: Apache-2.0

package import ArgumentParser
import Glibc
import Operations
import Settings

/// The agent's command line.
package struct AgentCommand: AsyncParsableCommand {
    /// The command's name and help.
    package static let configuration = CommandConfiguration(
        commandName: "kubenetmon-agent",
        abstract: "Send the packet and byte counts of this node's connections to a kubenetmon-server.",
        discussion: """
            Reads and zeroes the kernel's conntrack table once per interval; needs the capability CAP_NET_ADMIN. Every \
            setting is also an environment variable; a flag takes precedence. Durations are written like 5s, 1m30s or \
            500ms.

            The exit status is 0 after SIGTERM, 64 if a setting is invalid, and 1 after any other failure, such as a \
            missing capability or a port in use.
            """,
        version: Daemon.version, subcommands: [EnableAccounting.self])

    @Flag(
        help: """
            Check the settings and the files that they name, print each setting with its value and its source, and \
            exit: 0 if all are valid, 64 otherwise.
            """)
    var checkConfig = false
    @Flag(
        help: """
            Print the packets and bytes of the node's connections and their rates per second, busiest first, and exit. \
            Reads the table twice, one second or --collection-interval apart, and changes nothing, so it may run \
            beside an agent. > is from source to destination, < the opposite direction; a line "reply" shows the \
            addresses of replies if addresses are translated. Packets and bytes are counted from the start of a \
            connection or the last read by an agent; K, M and G are powers of 1000. Of the settings, only --protocols \
            and --collection-interval apply.
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
