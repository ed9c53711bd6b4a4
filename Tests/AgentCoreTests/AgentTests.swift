// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

private let program = Repository.program("kubenetmon-agent")

/// Runs the agent until it ends by itself.
private func run(
    _ arguments: [String], through launcher: [String] = [], environment: [String: String] = [:]
) async throws -> (code: Int32, output: String) {
    let command = launcher + [program.path] + arguments
    let child = try ChildProcess(URL(filePath: "/usr/bin/env"), command, environment: environment)
    return (try await child.wait(), child.output)
}

@Suite struct AgentTests {
    @Test("an agent without CAP_NET_ADMIN exits with 1 and names the capability", arguments: ["exact", "fast"])
    func withoutItsCapabilityTheAgentSaysSoAndEnds(mode: String) async throws {
        try NetworkNamespace.requireSandbox()
        let result = try await run(
            [
                "--node-name", "node-a", "--metrics-port", mode == "exact" ? "19001" : "19002", "--server-host",
                "127.0.0.1", "--collection-mode", mode,
            ],
            through: ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        #expect(result.code == 1)
        #expect(result.output.contains("permission denied"))
        #expect(result.output.contains("CAP_NET_ADMIN"))
        #expect(result.output.contains("capabilities.add: [NET_ADMIN]"))
    }

    @Test("an agent with wrong settings reports all of them and exits with 64")
    func wrongSettingsAreToldTogetherAndNothingIsStarted() async throws {
        let result = try await run(
            ["--server-port", "x"], environment: ["NODE_NAME": "", "COLLECTION_INTERVAL": "soon"])
        #expect(result.code == 64)
        #expect(result.output.contains("NODE_NAME or --node-name: is not set"))
        #expect(result.output.contains("COLLECTION_INTERVAL: 'soon' is not a duration"))
        #expect(result.output.contains("--server-port: 'x' is not a whole number from 1 to 65535"))
    }

    @Test("--help lists settings with their variables, values and defaults")
    func helpNamesEverySettingAndItsVariable() async throws {
        let result = try await run(["--help"])
        #expect(result.code == 0)
        let text = result.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        for setting in [
            "--node-name [NODE_NAME] Name of the Kubernetes node. (the name of the Kubernetes node (spec.nodeName); required)",
            "--collection-interval [COLLECTION_INTERVAL] Time between two collections. (a duration from 100ms to 1h,",
            "--server-port [KUBENETMON_SERVER_SERVICE_PORT] Port of the server. (a whole number from 1 to 65535; default 8884)",
            "a number of bytes from 65536 to 1073741824; default 16777216",
        ] { #expect(text.contains(setting), "\(setting)") }
        #expect(try await run(["--version"]).output.contains("."))
    }

    @Test("--check-config prints each setting with its source, or exits with 64")
    func aConfigurationIsCheckedWithoutBeingUsed() async throws {
        let good = try await run(["--check-config", "--metrics-port", "1"], environment: ["NODE_NAME": "node-a"])
        #expect(good.code == 0)
        let lines = good.output.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        #expect(lines.prefix(2) == ["node_name: node-a # NODE_NAME", "collection_interval: 5s # default"])
        #expect(lines.contains("metrics_port: 1 # --metrics-port"))
        let bad = try await run(["--check-config", "--metrics-port", "0"], environment: ["NODE_NAME": "node-a"])
        #expect(bad.code == 64 && bad.output.contains("--metrics-port: '0' is not"))
    }

    @Test("--check-config reads the files that the settings name")
    func checkedFiles() async throws {
        let certificates = try await TestCertificates()
        let unusable = try await TestCertificates(.ed448)
        func check(_ settings: [String: String]) async throws -> (code: Int32, output: String) {
            try await run(
                ["--check-config"], environment: settings.merging(["NODE_NAME": "a", "SERVER_TLS": "true"]) { $1 })
        }
        let own = [
            "CLIENT_CERTIFICATE_FILE": certificates.path("client.pem"),
            "CLIENT_KEY_FILE": certificates.path("client.key"),
        ]
        let good = try await check(own.merging(["SERVER_CA_FILE": certificates.path("authority.pem")]) { $1 })
        #expect(good.code == 0, "\(good.output)")
        for (settings, part) in [
            (["SERVER_CA_FILE": unusable.path("authority.pem")], "Ed25519"),
            (["SERVER_CA_FILE": certificates.path("missing.pem")], "No such file"),
            (["CLIENT_KEY_FILE": certificates.path("server.key")], "do not match"),
            (["TOKEN_FILE": certificates.path("missing")], "No such file"),
        ] {
            let bad = try await check(own.merging(settings) { $1 })
            #expect(bad.code == 64 && bad.output.contains(part), "\(bad.output)")
            #expect(bad.output.contains(certificates.folder.path) || bad.output.contains(unusable.folder.path))
        }
    }
}
