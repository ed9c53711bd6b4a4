// SPDX-License-Identifier: Apache-2.0

import AgentCore
import FlowModel
import Foundation
import Logs
import Settings
import TestSupport
import Testing

private func configuration(
    _ arguments: [String] = [], environment: [String: String] = [:]
) throws(SettingsProblems) -> AgentConfiguration {
    try SettingsReader.read(SettingsSources(arguments: arguments, environment: environment)) {
        AgentConfiguration(&$0)
    }.value
}

private func problems(_ arguments: [String], _ environment: [String: String]) -> [String] {
    do throws(SettingsProblems) {
        _ = try configuration(arguments, environment: environment)
        return []
    } catch {
        return error.lines
    }
}

@Suite struct AgentConfigurationTests {
    @Test("the node's name is the only required setting; all others have their defaults")
    func onlyTheNodesNameMustBeGiven() throws {
        let read = try configuration(["--node-name", "node-a"])
        #expect(read.nodeName == "node-a")
        #expect(read.collectionInterval == .seconds(5))
        #expect(read.serverHost == "kubenetmon-server.kubenetmon-server.svc.cluster.local")
        #expect(read.serverPort == 8884)
        #expect(read.serverAnswerTimeout == .seconds(60))
        #expect(read.metricsPort == 8883 && read.metricsAddress == nil)
        #expect(read.collectionMode == .exact)
        #expect(read.protocols == [.tcp, .udp])
        #expect(read.spoolBytes == 16 << 20 && read.spoolDirectory == nil)
        #expect(read.eventBufferBytes == 64 << 20)
        #expect(!read.enableAccounting && !read.skipSanityCheck)
        #expect(read.uptimeWait == .seconds(300))
        #expect(read.shutdownTimeout == .seconds(15))
        #expect(read.logging == LogConfiguration(level: .info, format: .automatic))
    }

    /// The environment is that of kubenetmon's chart with other values, plus the variables that Kubernetes adds.
    @Test("the environment variables of kubenetmon's chart are read, and Kubernetes' own are ignored")
    func theEnvironmentOfKubenetmonsChartIsRead() throws {
        let read = try configuration(
            environment: [
                "NODE_NAME": "ip-10-0-0-1", "COLLECTION_INTERVAL": "1m30s", "KUBENETMON_SERVER_SERVICE_HOST": "server",
                "KUBENETMON_SERVER_SERVICE_PORT": "9999", "SKIP_CONNTRACK_SANITY_CHECK": "T",
                "UPTIME_WAIT_DURATION": "10m", "METRICS_PORT": "1", "KUBERNETES_SERVICE_HOST": "10.96.0.1",
                "KUBENETMON_SERVER_PORT": "tcp://10.96.0.80:8884", "PATH": "/bin",
            ])
        #expect(read.nodeName == "ip-10-0-0-1")
        #expect(read.collectionInterval == .seconds(90))
        #expect(read.serverHost == "server")
        #expect(read.serverPort == 9999)
        #expect(read.skipSanityCheck)
        #expect(read.uptimeWait == .seconds(600))
        #expect(read.metricsPort == 1)
    }

    @Test("the defaults equal those of kubenetmon's chart") func theChartsDefaultsAreTheDefaults() throws {
        let chart = [
            "NODE_NAME": "n", "COLLECTION_INTERVAL": "5s",
            "KUBENETMON_SERVER_SERVICE_HOST": "kubenetmon-server.kubenetmon-server.svc.cluster.local",
            "KUBENETMON_SERVER_SERVICE_PORT": "8884", "SKIP_CONNTRACK_SANITY_CHECK": "false",
            "UPTIME_WAIT_DURATION": "300s", "METRICS_PORT": "8883",
        ]
        #expect(
            try configuration(environment: chart) == configuration(["--node-name=n"]))
    }

    @Test("every setting has an environment variable and a flag, and the flag wins")
    func everySettingIsAVariableAndAFlagThatWins() throws {
        let environment = [
            "NODE_NAME": "a", "COLLECTION_INTERVAL": "1s", "KUBENETMON_SERVER_SERVICE_HOST": "a",
            "KUBENETMON_SERVER_SERVICE_PORT": "1", "SERVER_ANSWER_TIMEOUT": "1s", "METRICS_PORT": "1",
            "COLLECTION_MODE": "fast", "COLLECTED_PROTOCOLS": "sctp", "SPOOL_BYTES": "1048576",
            "EVENT_BUFFER_BYTES": "65536", "ENABLE_CONNTRACK_ACCOUNTING": "true", "SKIP_CONNTRACK_SANITY_CHECK": "true",
            "UPTIME_WAIT_DURATION": "0", "SHUTDOWN_TIMEOUT": "1s", "LOG_LEVEL": "trace",
            "LOG_FORMAT": "json", "METRICS_ADDRESS": "2001:db8::1",
        ]
        let flags = [
            "--node-name", "b", "--collection-interval", "2s", "--server-host", "b", "--server-port", "65535",
            "--server-answer-timeout", "2s", "--metrics-port", "65535", "--collection-mode", "exact",
            "--protocols", "TCP, icmpv6,GRE", "--spool-bytes", "1073741824", "--event-buffer-bytes=1073741824",
            "--enable-accounting", "0", "--skip-conntrack-sanity-check", "F", "--uptime-wait-duration", "2s",
            "--shutdown-timeout", "2s", "--log-level", "critical", "--log-format", "text",
            "--metrics-address", "192.0.2.1",
        ]
        var expected = try configuration(["--node-name", "a"])
        expected.collectionInterval = .seconds(1)
        expected.serverHost = "a"
        expected.serverPort = 1
        expected.serverAnswerTimeout = .seconds(1)
        expected.metricsPort = 1
        expected.metricsAddress = IPAddress("2001:db8::1")
        expected.collectionMode = .fast
        expected.protocols = [.sctp]
        expected.spoolBytes = 1 << 20
        expected.eventBufferBytes = 1 << 16
        expected.enableAccounting = true
        expected.skipSanityCheck = true
        expected.uptimeWait = .zero
        expected.shutdownTimeout = .seconds(1)
        expected.logging = LogConfiguration(level: .trace, format: .json)
        #expect(try configuration(environment: environment) == expected)
        expected.nodeName = "b"
        expected.collectionInterval = .seconds(2)
        expected.serverHost = "b"
        expected.serverPort = 65_535
        expected.serverAnswerTimeout = .seconds(2)
        expected.metricsPort = 65_535
        expected.metricsAddress = IPAddress("192.0.2.1")
        expected.collectionMode = .exact
        expected.protocols = [.tcp, TransportProtocol(rawValue: 58), TransportProtocol(rawValue: 47)]
        expected.spoolBytes = 1 << 30
        expected.eventBufferBytes = 1 << 30
        expected.enableAccounting = false
        expected.skipSanityCheck = false
        expected.uptimeWait = .seconds(2)
        expected.shutdownTimeout = .seconds(2)
        expected.logging = LogConfiguration(level: .critical, format: .text)
        #expect(try configuration(flags, environment: environment) == expected)
    }

    @Test("every protocol that has a name can be collected")
    func protocols() throws {
        for (name, transport) in TransportProtocol.byName {
            #expect(try configuration(["--node-name=n", "--protocols=\(name)"]).protocols == [transport])
        }
    }

    @Test("all mistakes in flags and variables are reported at once") func allProblemsAreToldAtOnce() {
        let found = problems(
            [
                "--server-host", "", "--server-port=0", "--protocols", "tcp,ipx", "--log-level", "loud",
                "--colection-mode=fast",
            ],
            [
                "COLLECTION_INTERVAL": "1ms", "METRICS_PORT": "65536", "COLLECTION_MODE": "quick", "SPOOL_BYTES": "1MB",
                "EVENT_BUFFER_BYTES": "1", "ENABLE_CONNTRACK_ACCOUNTING": "yes", "SKIP_CONNTRACK_SANITY_CHECK": "no",
                "UPTIME_WAIT_DURATION": "-5s", "SHUTDOWN_TIMEOUT": "0s", "SERVER_ANSWER_TIMEOUT": "0",
            ])
        let beginnings = [
            "NODE_NAME or --node-name: is not set: it must be the name of",
            "COLLECTION_INTERVAL: '1ms' is not a duration from 100ms to 1h, such as",
            "--server-host: '' is not ", "--server-port: '0' is not a whole number from 1 to 65535",
            "SERVER_ANSWER_TIMEOUT: '0' is not ", "METRICS_PORT: '65536' is not a whole number",
            "COLLECTION_MODE: 'quick' is not exact or fast",
            "--protocols: 'tcp,ipx' is not a comma-separated list of dccp, gre, icmp,",
            "ENABLE_CONNTRACK_ACCOUNTING: 'yes' is not true or false", "SPOOL_BYTES: '1MB' is not a number of bytes",
            "EVENT_BUFFER_BYTES: '1' is not ", "SKIP_CONNTRACK_SANITY_CHECK: 'no' is not true or false",
            "UPTIME_WAIT_DURATION: '-5s' is not ",
            "SHUTDOWN_TIMEOUT: '0s' is not ", "--log-level: 'loud' is not trace, debug, info,",
            "--colection-mode: there is no such flag; did you mean --collection-mode?",
        ]
        #expect(found.count == beginnings.count)
        for (problem, beginning) in zip(found, beginnings) { #expect(problem.hasPrefix(beginning)) }
    }

    @Test(
        "a list of protocols that contains no known names is rejected", arguments: ["", ",", "tcp udp", "tcp;udp", "6"])
    func aListOfProtocolsNamesThem(text: String) {
        #expect(problems(["--node-name=n", "--protocols=\(text)"], [:]).count == 1)
    }

    @Test("the agent's table in docs/configuration.md equals the declared settings")
    func theReferenceIsCurrent() throws {
        let table = SettingsReader.declarations { _ = AgentConfiguration(&$0) }.markdown(hasFile: false)
        #expect(
            try String(contentsOf: Repository.file("docs/configuration.md"), encoding: .utf8).contains(table),
            "docs/configuration.md is stale: make configuration-reference")
    }

    @Test(
        "flows or a token sent to another machine without TLS cause a warning",
        arguments: [
            ([], "flows are sent to the server unencrypted"),
            (["--token-file", "/token"], "flows and the token are sent to the server unencrypted"),
            (["--server-host", "127.0.0.1"], nil), (["--server-host", "::1"], nil),
            (["--server-host", "localhost"], nil),
            (["--server-tls", "true"], nil),
        ])
    func exposedToken(arguments: [String], warning: String?) throws {
        let sources = SettingsSources(arguments: ["--node-name", "a"] + arguments, environment: [:])
        let warnings = try SettingsReader.read(sources) { AgentConfiguration(&$0) }.settings.warnings
        #expect(warnings.count == (warning == nil ? 0 : 1))
        #expect(warnings.allSatisfy { $0.hasPrefix(warning ?? "") && $0.contains("SERVER_TLS=true") })
    }
}
