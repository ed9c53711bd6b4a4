// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Operations
import Testing

@testable import KubenetmonAgent

private typealias Flags = AgentConfiguration.Flags

private func problems(_ flags: AgentConfiguration.Flags, _ environment: [String: String]) -> [String] {
    do throws(SettingsReader.Problems) {
        _ = try AgentConfiguration(flags, environment: environment)
        return []
    } catch {
        return error.lines
    }
}

@Suite struct AgentConfigurationTests {
    @Test func onlyTheNodesNameMustBeGiven() throws {
        let configuration = try AgentConfiguration(Flags(nodeName: "node-a"), environment: [:])
        #expect(configuration.nodeName == "node-a")
        #expect(configuration.collectionInterval == .seconds(5))
        #expect(configuration.serverHost == "kubenetmon-server.kubenetmon-server.svc.cluster.local")
        #expect(configuration.serverPort == 8884)
        #expect(configuration.serverAnswerTimeout == .seconds(60))
        #expect(configuration.metricsPort == 8883)
        #expect(configuration.collectionMode == .exact)
        #expect(configuration.protocols == [.tcp, .udp])
        #expect(configuration.spoolBytes == 16 << 20)
        #expect(configuration.eventBufferBytes == 64 << 20)
        #expect(!configuration.enableAccounting && !configuration.skipSanityCheck)
        #expect(configuration.uptimeWait == .seconds(300))
        #expect(configuration.shutdownTimeout == .seconds(15))
        #expect(configuration.logLevel == .info)
    }

    /// The environment that kubenetmon's chart makes, its values changed, and what Kubernetes adds.
    @Test func theEnvironmentOfKubenetmonsChartIsRead() throws {
        let configuration = try AgentConfiguration(
            Flags(),
            environment: [
                "NODE_NAME": "ip-10-0-0-1", "COLLECTION_INTERVAL": "1m30s", "KUBENETMON_SERVER_SERVICE_HOST": "server",
                "KUBENETMON_SERVER_SERVICE_PORT": "9999", "SKIP_CONNTRACK_SANITY_CHECK": "T",
                "UPTIME_WAIT_DURATION": "10m", "METRICS_PORT": "1", "KUBERNETES_SERVICE_HOST": "10.96.0.1",
                "KUBENETMON_SERVER_PORT": "tcp://10.96.0.80:8884", "PATH": "/bin",
            ])
        #expect(configuration.nodeName == "ip-10-0-0-1")
        #expect(configuration.collectionInterval == .seconds(90))
        #expect(configuration.serverHost == "server")
        #expect(configuration.serverPort == 9999)
        #expect(configuration.skipSanityCheck)
        #expect(configuration.uptimeWait == .seconds(600))
        #expect(configuration.metricsPort == 1)
    }

    @Test func theChartsDefaultsAreTheDefaults() throws {
        let chart = [
            "NODE_NAME": "n", "COLLECTION_INTERVAL": "5s",
            "KUBENETMON_SERVER_SERVICE_HOST": "kubenetmon-server.kubenetmon-server.svc.cluster.local",
            "KUBENETMON_SERVER_SERVICE_PORT": "8884", "SKIP_CONNTRACK_SANITY_CHECK": "false",
            "UPTIME_WAIT_DURATION": "300s", "METRICS_PORT": "8883",
        ]
        #expect(
            try AgentConfiguration(Flags(), environment: chart)
                == AgentConfiguration(Flags(nodeName: "n"), environment: [:]))
    }

    @Test func everySettingIsAVariableAndAFlagThatWins() throws {
        let environment = [
            "NODE_NAME": "a", "COLLECTION_INTERVAL": "1s", "KUBENETMON_SERVER_SERVICE_HOST": "a",
            "KUBENETMON_SERVER_SERVICE_PORT": "1", "SERVER_ANSWER_TIMEOUT": "1s", "METRICS_PORT": "1",
            "COLLECTION_MODE": "fast", "COLLECTED_PROTOCOLS": "sctp", "SPOOL_BYTES": "1048576",
            "EVENT_BUFFER_BYTES": "65536", "ENABLE_CONNTRACK_ACCOUNTING": "true", "SKIP_CONNTRACK_SANITY_CHECK": "true",
            "UPTIME_WAIT_DURATION": "0", "SHUTDOWN_TIMEOUT": "1s", "LOG_LEVEL": "trace",
        ]
        let flags = Flags(
            nodeName: "b", collectionInterval: "2s", serverHost: "b", serverPort: "65535", serverAnswerTimeout: "2s",
            metricsPort: "65535", collectionMode: "exact", protocols: "TCP, icmpv6,GRE", spoolBytes: "1073741824",
            eventBufferBytes: "1073741824", enableAccounting: "0", skipSanityCheck: "F", uptimeWait: "2s",
            shutdownTimeout: "2s", logLevel: "critical")
        var expected = try AgentConfiguration(Flags(nodeName: "a"), environment: [:])
        expected.collectionInterval = .seconds(1)
        expected.serverHost = "a"
        expected.serverPort = 1
        expected.serverAnswerTimeout = .seconds(1)
        expected.metricsPort = 1
        expected.collectionMode = .fast
        expected.protocols = [TransportProtocol(rawValue: 132)]
        expected.spoolBytes = 1 << 20
        expected.eventBufferBytes = 1 << 16
        expected.enableAccounting = true
        expected.skipSanityCheck = true
        expected.uptimeWait = .zero
        expected.shutdownTimeout = .seconds(1)
        expected.logLevel = .trace
        #expect(try AgentConfiguration(Flags(), environment: environment) == expected)
        expected.nodeName = "b"
        expected.collectionInterval = .seconds(2)
        expected.serverHost = "b"
        expected.serverPort = 65_535
        expected.serverAnswerTimeout = .seconds(2)
        expected.metricsPort = 65_535
        expected.collectionMode = .exact
        expected.protocols = [.tcp, TransportProtocol(rawValue: 58), TransportProtocol(rawValue: 47)]
        expected.spoolBytes = 1 << 30
        expected.eventBufferBytes = 1 << 30
        expected.enableAccounting = false
        expected.skipSanityCheck = false
        expected.uptimeWait = .seconds(2)
        expected.shutdownTimeout = .seconds(2)
        expected.logLevel = .critical
        #expect(try AgentConfiguration(flags, environment: environment) == expected)
    }

    @Test func allProblemsAreToldAtOnce() {
        let found = problems(
            Flags(serverHost: "", serverPort: "0", protocols: "tcp,ipx", logLevel: "loud"),
            [
                "COLLECTION_INTERVAL": "5", "METRICS_PORT": "65536", "COLLECTION_MODE": "quick", "SPOOL_BYTES": "1MB",
                "EVENT_BUFFER_BYTES": "1", "ENABLE_CONNTRACK_ACCOUNTING": "yes", "SKIP_CONNTRACK_SANITY_CHECK": "no",
                "UPTIME_WAIT_DURATION": "-5s", "SHUTDOWN_TIMEOUT": "0s", "SERVER_ANSWER_TIMEOUT": "0",
            ])
        let beginnings = [
            "NODE_NAME (or --node-name) is not set: ", "COLLECTION_INTERVAL: '5' is not a duration",
            "--server-host: '' is not ", "--server-port: '0' is not a port from 1 to 65535",
            "SERVER_ANSWER_TIMEOUT: '0' is not ", "METRICS_PORT: '65536' is not a port",
            "COLLECTION_MODE: 'quick' is not exact or fast",
            "--protocols: 'tcp,ipx' is not a comma-separated list of dccp, gre, icmp,", "SPOOL_BYTES: '1MB' is not ",
            "EVENT_BUFFER_BYTES: '1' is not ", "SKIP_CONNTRACK_SANITY_CHECK: 'no' is not true or false",
            "UPTIME_WAIT_DURATION: '-5s' is not ", "ENABLE_CONNTRACK_ACCOUNTING: 'yes' is not true or false",
            "SHUTDOWN_TIMEOUT: '0s' is not ", "--log-level: 'loud' is not one of trace, debug, info,",
        ]
        #expect(found.count == beginnings.count)
        for (problem, beginning) in zip(found, beginnings) { #expect(problem.hasPrefix(beginning)) }
    }

    @Test(arguments: ["", ",", "tcp udp", "tcp;udp", "6"]) func aListOfProtocolsNamesThem(text: String) {
        #expect(problems(Flags(nodeName: "n", protocols: text), [:]).count == 1)
    }
}
