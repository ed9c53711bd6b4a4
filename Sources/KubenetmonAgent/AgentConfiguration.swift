// SPDX-License-Identifier: Apache-2.0

import Conntrack
import FlowModel
import Logging
import Operations

/// The agent's settings. Names and defaults of the environment variables are kubenetmon's.
struct AgentConfiguration: Equatable, Sendable {
    var nodeName: String
    var collectionInterval: Duration
    var serverHost: String
    var serverPort: Int
    var serverAnswerTimeout: Duration
    var metricsPort: Int
    var collectionMode: ConntrackTable.Mode
    var protocols: [TransportProtocol]
    var spoolBytes: Int
    var eventBufferBytes: Int
    var enableAccounting: Bool
    var skipSanityCheck: Bool
    var uptimeWait: Duration
    var shutdownTimeout: Duration
    var logLevel: Logger.Level

    /// The value of every flag that is given.
    struct Flags {
        var nodeName: String?
        var collectionInterval: String?
        var serverHost: String?
        var serverPort: String?
        var serverAnswerTimeout: String?
        var metricsPort: String?
        var collectionMode: String?
        var protocols: String?
        var spoolBytes: String?
        var eventBufferBytes: String?
        var enableAccounting: String?
        var skipSanityCheck: String?
        var uptimeWait: String?
        var shutdownTimeout: String?
        var logLevel: String?
    }

    /// Reads flags, then the environment, then defaults. Throws all problems at once.
    init(_ flags: Flags, environment: [String: String]) throws(SettingsReader.Problems) {
        var reader = SettingsReader(environment: environment)
        let nonEmpty: (String) -> String? = { $0.isEmpty ? nil : $0 }
        let port: (String) -> Int? = { Int($0).flatMap { (1...65535).contains($0) ? $0 : nil } }
        let positive: (String) -> Duration? = { Duration(goDuration: $0).flatMap { $0 > .zero ? $0 : nil } }
        func bytes(_ range: ClosedRange<Int>) -> (String) -> Int? {
            { Int($0).flatMap { range.contains($0) ? $0 : nil } }
        }
        let nodeName = reader.value(
            flag: flags.nodeName, "--node-name", variable: "NODE_NAME",
            expected: "the name of the Kubernetes node (spec.nodeName)", parse: nonEmpty)
        let collectionInterval = reader.value(
            flag: flags.collectionInterval, "--collection-interval", variable: "COLLECTION_INTERVAL",
            expected: "a duration above zero such as 5s or 1m30s", default: .seconds(5), parse: positive)
        let serverHost = reader.value(
            flag: flags.serverHost, "--server-host", variable: "KUBENETMON_SERVER_SERVICE_HOST",
            expected: "a host name or address", default: "kubenetmon-server.kubenetmon-server.svc.cluster.local",
            parse: nonEmpty)
        let serverPort = reader.value(
            flag: flags.serverPort, "--server-port", variable: "KUBENETMON_SERVER_SERVICE_PORT",
            expected: "a port from 1 to 65535", default: 8884, parse: port)
        let serverAnswerTimeout = reader.value(
            flag: flags.serverAnswerTimeout, "--server-answer-timeout", variable: "SERVER_ANSWER_TIMEOUT",
            expected: "a duration above zero such as 60s", default: .seconds(60), parse: positive)
        let metricsPort = reader.value(
            flag: flags.metricsPort, "--metrics-port", variable: "METRICS_PORT",
            expected: "a port from 1 to 65535", default: 8883, parse: port)
        let collectionMode = reader.value(
            flag: flags.collectionMode, "--collection-mode", variable: "COLLECTION_MODE",
            expected: "exact or fast", default: .exact, parse: ConntrackTable.Mode.init(rawValue:))
        let protocols = reader.value(
            flag: flags.protocols, "--protocols", variable: "COLLECTED_PROTOCOLS",
            expected: "a comma-separated list of \(Self.protocolNumbers.keys.sorted().joined(separator: ", "))",
            default: [.tcp, .udp], parse: Self.parseProtocols)
        let spoolBytes = reader.value(
            flag: flags.spoolBytes, "--spool-bytes", variable: "SPOOL_BYTES",
            expected: "a number of bytes from 65536 to 1073741824", default: 16 << 20, parse: bytes(1 << 16...1 << 30))
        let eventBufferBytes = reader.value(
            flag: flags.eventBufferBytes, "--event-buffer-bytes", variable: "EVENT_BUFFER_BYTES",
            expected: "a number of bytes from 65536 to 1073741824", default: 64 << 20, parse: bytes(1 << 16...1 << 30))
        let skipSanityCheck = reader.value(
            flag: flags.skipSanityCheck, "--skip-conntrack-sanity-check", variable: "SKIP_CONNTRACK_SANITY_CHECK",
            expected: "true or false", default: false, parse: Bool.init(goBool:))
        let uptimeWait = reader.value(
            flag: flags.uptimeWait, "--uptime-wait-duration", variable: "UPTIME_WAIT_DURATION",
            expected: "a duration such as 300s", default: .seconds(300), parse: Duration.init(goDuration:))
        let enableAccounting = reader.value(
            flag: flags.enableAccounting, "--enable-accounting", variable: "ENABLE_CONNTRACK_ACCOUNTING",
            expected: "true or false", default: false, parse: Bool.init(goBool:))
        let shutdownTimeout = reader.value(
            flag: flags.shutdownTimeout, "--shutdown-timeout", variable: "SHUTDOWN_TIMEOUT",
            expected: "a duration above zero such as 10s", default: .seconds(15), parse: positive)
        let logLevel = reader.value(
            flag: flags.logLevel, "--log-level", variable: "LOG_LEVEL",
            expected: "one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))",
            default: .info, parse: Logger.Level.init(rawValue:))
        try reader.check()
        guard let nodeName, let collectionInterval, let serverHost, let serverPort, let serverAnswerTimeout,
            let metricsPort,
            let collectionMode, let protocols, let spoolBytes, let eventBufferBytes, let enableAccounting,
            let skipSanityCheck, let uptimeWait, let shutdownTimeout, let logLevel
        else { preconditionFailure("a setting without a value was not reported") }
        self.nodeName = nodeName
        self.collectionInterval = collectionInterval
        self.serverHost = serverHost
        self.serverPort = serverPort
        self.serverAnswerTimeout = serverAnswerTimeout
        self.metricsPort = metricsPort
        self.collectionMode = collectionMode
        self.protocols = protocols
        self.spoolBytes = spoolBytes
        self.eventBufferBytes = eventBufferBytes
        self.enableAccounting = enableAccounting
        self.skipSanityCheck = skipSanityCheck
        self.uptimeWait = uptimeWait
        self.shutdownTimeout = shutdownTimeout
        self.logLevel = logLevel
    }

    /// IANA protocol numbers of what conntrack tracks.
    private static let protocolNumbers: [String: UInt8] = [
        "icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "icmpv6": 58, "sctp": 132, "udplite": 136,
    ]

    private static func parseProtocols(_ text: String) -> [TransportProtocol]? {
        let names = text.split(separator: ",")
        let numbers = names.compactMap { name in
            protocolNumbers[name.filter { $0 != " " }.lowercased()]
        }
        guard !numbers.isEmpty, numbers.count == names.count else { return nil }
        return numbers.map(TransportProtocol.init(rawValue:))
    }
}
