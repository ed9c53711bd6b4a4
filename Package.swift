// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// In CI every warning of the project's own code is an error; elsewhere a newer compiler's warnings stay warnings.
let swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
    ] + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// The commit that `--version` tells, given by `make dist` and by the images' builds.
let commit = Context.environment["KUBENETMON_COMMIT"].map { $0.filter(\.isHexDigit) } ?? ""

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "kubenetmon",
    products: [
        .executable(name: "kubenetmon-agent", targets: ["KubenetmonAgent"]),
        .executable(name: "kubenetmon-server", targets: ["KubenetmonServer"]),
        // What Benchmarks/ measures.
        .library(
            name: "KubenetmonServerParts",
            targets: ["CloudRanges", "ClusterModel", "FlowModel", "Labeling"]),
        .library(name: "KubernetesTestKit", targets: ["KubernetesTestKit"]),
        .library(name: "KubenetmonWireFormat", targets: ["CFlowProto"]),
        // What Tests/Fuzz feeds.
        .library(
            name: "KubenetmonDecoders",
            targets: ["ClusterModel", "Conntrack", "FlowWire", "HostAddresses", "KubernetesAPI"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.31.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.6.0"),
    ],
    targets: [
        // C
        .target(
            name: "CNetfilter", linkerSettings: [.linkedLibrary("mnl"), .linkedLibrary("netfilter_conntrack")]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CCompression", providers: [.apt(["liblz4-dev", "libzstd-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .systemLibrary(name: "CRtnetlink"),
        .systemLibrary(name: "CThreadName"),
        .target(name: "CDescriptorPassing"),
        .target(name: "CBuildCommit", cSettings: [.define("KUBENETMON_COMMIT", to: "\"\(commit)\"")]),
        .target(name: "CFlowProto", linkerSettings: [.linkedLibrary("protobuf-c")]),
        .target(name: "CKubernetesProto", linkerSettings: [.linkedLibrary("protobuf-c")]),

        // The rooms, in the order in which a byte count travels
        .target(name: "FlowModel"),
        .target(name: "ClusterModel", dependencies: ["FlowModel"]),
        .target(name: "Retry"),
        .target(name: "LogLimits"),
        .target(name: "LocalFiles"),
        .target(name: "Secrets", dependencies: ["LocalFiles", logging]),
        .target(name: "Threads", dependencies: ["CThreadName"]),
        .target(name: "Conntrack", dependencies: ["CNetfilter", "FlowCollection", "FlowModel", "Threads", logging]),
        .target(
            name: "FlowCollection",
            dependencies: ["FlowExport", "FlowModel", "Operations", "Threads", lifecycle, logging, nioCore]),
        .target(name: "HostAddresses", dependencies: ["CRtnetlink", "FlowModel", "Threads"]),
        .target(name: "InstanceLock", dependencies: ["CDescriptorPassing"]),
        .target(name: "FlowWire", dependencies: ["CFlowProto", "FlowModel", "Secrets", nioCore]),
        .target(name: "TransportSecurity", dependencies: ["Secrets", logging, nioSSL]),
        .target(
            name: "FlowExport",
            dependencies: [
                "FlowModel", "FlowWire", "Retry", "Secrets", "Sockets", "Threads", "TransportSecurity", deque, logging,
                nioCore, nioPosix, nioSSL, nioTLS,
            ]),
        .target(
            name: "FlowIngest",
            dependencies: [
                "FlowModel", "FlowWire", "LogLimits", "Secrets", "Sockets", "TransportSecurity", deque, logging,
                nioCore, nioPosix, nioSSL, nioTLS,
            ]),
        .target(name: "Sockets", dependencies: ["FlowModel", logging, nioCore, nioPosix]),
        .target(name: "HTTPClient", dependencies: ["CCurl", "Threads"]),
        // Without the parser: the agent has no file to parse.
        .target(name: "DocumentTree"),
        .target(name: "YAMLParsing", dependencies: ["CYAML", "DocumentTree", "LocalFiles"]),
        .target(
            name: "KubernetesAPI",
            dependencies: [
                "CCrypto", "CKubernetesProto", "ClusterModel", "DocumentTree", "FlowModel", "HTTPClient", "LocalFiles",
                "Retry", "Threads", "YAMLParsing", logging,
            ]),
        .target(name: "InventoryFile", dependencies: ["ClusterModel", "DocumentTree", "FlowModel", "YAMLParsing"]),
        .target(
            name: "CloudRanges",
            dependencies: ["CZlib", "ClusterModel", "FlowModel", "HTTPClient", "LocalFiles", "Retry", logging]),
        .target(name: "Labeling", dependencies: ["ClusterModel", "FlowModel", deque]),
        .target(
            name: "FlowBlocks",
            dependencies: ["ClusterModel", "FlowIngest", "FlowModel", "FlowWire", "Labeling", "Threads", nioCore]),
        .target(name: "TextFormats", dependencies: ["FlowModel"]),
        .target(name: "Settings", dependencies: ["DocumentTree", "FlowModel"]),
        .target(name: "Logs", dependencies: ["FlowModel", "LogLimits", "Settings", "TextFormats", logging]),
        .target(name: "Operations", dependencies: ["CBuildCommit", lifecycle, logging, nioCore, nioPosix]),
        .target(
            name: "Probes",
            dependencies: [
                "FlowModel", "Operations", "Sockets", "TextFormats", lifecycle, logging, nioCore, nioHTTP1, nioPosix,
            ]),
        .target(
            name: "ClickHouse",
            dependencies: [
                "CCompression", "ClusterModel", "FlowBlocks", "FlowModel", "HTTPClient", "Labeling", "LocalFiles",
                "LogLimits", "Retry", "Threads", deque, logging,
            ]),
        .target(
            name: "Migrations", dependencies: ["ClickHouse", "HTTPClient"],
            // SQL is a link to deploy/clickhouse.
            exclude: ["SQL/008_opened_and_zone.sql", "SQL/backfill_hourly.sql", "SQL/queries"],
            resources: [
                "001_network_flows_0", "002_extended_columns", "003_deduplication_window", "004_rollup_hourly",
                "005_roles", "006_replicated_on_cluster", "007_distributed",
            ].map { .embedInCode("SQL/\($0).sql") }),

        // The daemons
        .target(
            name: "AgentCore",
            dependencies: [
                "Conntrack", "FlowCollection", "FlowExport", "FlowModel", "FlowWire", "HostAddresses", "InstanceLock",
                "Logs", "Operations", "Probes", "Secrets", "Settings", "TextFormats", "Threads", "TransportSecurity",
                argumentParser, lifecycle, logging, nioCore, nioPosix, unixSignals,
            ]),
        .executableTarget(name: "KubenetmonAgent", dependencies: ["AgentCore"]),
        .target(
            name: "ServerCore",
            dependencies: [
                "CMalloc", "ClickHouse", "CloudRanges", "ClusterModel", "DocumentTree", "FlowBlocks", "FlowIngest",
                "FlowModel", "FlowWire", "HTTPClient", "InventoryFile", "KubernetesAPI", "Labeling", "LogLimits",
                "Logs", "Migrations", "Operations", "Probes", "Retry", "Secrets", "Settings", "Sockets", "TextFormats",
                "Threads", "TransportSecurity", "YAMLParsing", deque, nioCore, nioPosix, argumentParser, lifecycle,
                logging,
                unixSignals,
            ]),
        .executableTarget(name: "KubenetmonServer", dependencies: ["ServerCore"]),

        // The tests
        .executableTarget(name: "Churn", path: "Tests/Churn"),
        .executableTarget(
            name: "Fleet",
            dependencies: [
                "FlowExport", "FlowModel", "FlowWire", "Operations", argumentParser, logging, nioCore, nioPosix,
                unixSignals,
            ],
            path: "Tests/Fleet"),
        .target(name: "CTestSupport", path: "Tests/CTestSupport"),
        .target(name: "TestSupport", dependencies: ["CTestSupport"], path: "Tests/TestSupport"),
        .testTarget(name: "FlowModelTests", dependencies: ["FlowModel", "TestSupport"]),
        .testTarget(
            name: "ConntrackTests",
            dependencies: ["CNetfilter", "Conntrack", "FlowCollection", "FlowModel", "TestSupport", logging]),
        .testTarget(
            name: "FlowCollectionTests",
            dependencies: [
                "AgentCore", "FlowCollection", "FlowExport", "FlowModel", "FlowWire", "Probes", "TestSupport",
                "Threads", lifecycle, logging, nioCore, nioPosix,
            ]),
        .testTarget(name: "HostAddressesTests", dependencies: ["FlowModel", "HostAddresses", "TestSupport"]),
        .testTarget(
            name: "InstanceLockTests", dependencies: ["CDescriptorPassing", "InstanceLock", "TestSupport"]),
        .testTarget(name: "FlowWireTests", dependencies: ["FlowModel", "FlowWire", "Secrets", "TestSupport", nioCore]),
        .testTarget(name: "LocalFilesTests", dependencies: ["LocalFiles", "TestSupport"]),
        .testTarget(name: "SecretsTests", dependencies: ["Secrets", "TestSupport", logging]),
        .testTarget(
            name: "TransportSecurityTests",
            dependencies: ["Secrets", "TestSupport", "TransportSecurity", logging, nioSSL]),
        .testTarget(
            name: "FlowExportTests",
            dependencies: [
                "FlowExport", "FlowModel", "FlowWire", "Retry", "Sockets", "TestSupport", "Threads",
                "TransportSecurity", logging, nioCore, nioPosix,
            ]),
        .testTarget(
            name: "FlowIngestTests",
            dependencies: [
                "FlowExport", "FlowIngest", "FlowModel", "FlowWire", "Retry", "Secrets", "TestSupport",
                "TransportSecurity", logging, nioCore, nioEmbedded, nioPosix,
            ]),
        .target(
            name: "KubernetesTestKit",
            dependencies: [
                "ClusterModel", "FlowModel", "KubernetesAPI", nioCore, nioHTTP1, nioPosix, nioSSL,
            ],
            path: "Tests/KubernetesTestKit"),
        .testTarget(name: "HTTPClientTests", dependencies: ["HTTPClient", "TestSupport"]),
        .testTarget(
            name: "ClusterModelTests", dependencies: ["ClusterModel", "KubernetesTestKit", "TestSupport"]),
        .testTarget(
            name: "KubernetesAPITests",
            dependencies: [
                "ClusterModel", "FlowModel", "HTTPClient", "KubernetesAPI", "KubernetesTestKit", "Retry", "TestSupport",
                logging,
            ], resources: [.copy("Captures")]),
        .testTarget(name: "DocumentTreeTests", dependencies: ["DocumentTree", "YAMLParsing"]),
        .testTarget(
            name: "InventoryFileTests", dependencies: ["ClusterModel", "DocumentTree", "FlowModel", "InventoryFile"]),
        .testTarget(
            name: "CloudRangesTests",
            dependencies: [
                "CloudRanges", "ClusterModel", "FlowModel", "HTTPClient", "Retry", "TestSupport", logging, nioCore,
                nioHTTP1, nioPosix,
            ]),
        .testTarget(
            name: "LabelingTests",
            dependencies: ["ClusterModel", "FlowModel", "InventoryFile", "Labeling", "TestSupport"],
            exclude: ["situations.txt"]),
        .target(
            name: "FlowBlocksTestKit", dependencies: ["FlowBlocks", "FlowModel", "Labeling"],
            path: "Tests/FlowBlocksTestKit"),
        .testTarget(
            name: "FlowBlocksTests",
            dependencies: [
                "ClusterModel", "FlowBlocks", "FlowBlocksTestKit", "FlowIngest", "FlowModel", "FlowWire", "Labeling",
                "TestSupport", logging, nioCore, nioPosix,
            ]),
        .testTarget(name: "MigrationsTests", dependencies: ["ClickHouse", "Migrations", "TestSupport"]),
        .testTarget(
            name: "ClickHouseTests",
            dependencies: [
                "ClickHouse", "FlowBlocks", "FlowBlocksTestKit", "FlowModel", "HTTPClient", "Labeling", "LocalFiles",
                "Retry", "TestSupport", logging,
            ]),
        .testTarget(name: "TextFormatsTests", dependencies: ["FlowModel", "TestSupport", "TextFormats"]),
        .testTarget(
            name: "SettingsTests",
            dependencies: ["DocumentTree", "FlowModel", "Settings", "TestSupport", "YAMLParsing"]),
        .testTarget(name: "LogsTests", dependencies: ["Logs", logging]),
        .testTarget(name: "OperationsTests", dependencies: ["Logs", "Operations", "TestSupport", lifecycle, logging]),
        .testTarget(
            name: "ProbesTests",
            dependencies: [
                "FlowModel", "Operations", "Probes", "Sockets", "TestSupport", "TextFormats", lifecycle, logging,
                nioCore,
            ]),
        .testTarget(
            name: "SocketsTests", dependencies: ["FlowModel", "Sockets", "TestSupport", logging, nioCore, nioPosix]),
        .testTarget(name: "TestSupportTests", dependencies: ["TestSupport"]),
        .testTarget(name: "RetryTests", dependencies: ["Retry", "TestSupport"]),
        .testTarget(name: "LogLimitsTests", dependencies: ["LogLimits"]),
        .testTarget(name: "ThreadsTests", dependencies: ["TestSupport", "Threads"]),
        .testTarget(
            name: "AgentCoreTests",
            dependencies: [
                "AgentCore", "Conntrack", "FlowCollection", "FlowExport", "FlowModel", "FlowWire", "InstanceLock",
                "KubenetmonAgent", "Logs", "Operations", "Probes", "Settings", "TestSupport", "TextFormats", lifecycle,
                logging, nioPosix,
            ]),
        .testTarget(
            name: "ServerCoreTests",
            dependencies: [
                "CloudRanges", "ClusterModel", "DocumentTree", "FlowBlocks", "FlowIngest", "FlowModel", "FlowWire",
                "KubenetmonServer", "KubernetesAPI", "KubernetesTestKit", "Labeling", "Operations", "Probes", "Secrets",
                "ClickHouse", "Migrations", "Retry", "ServerCore", "Settings", "Sockets", "TestSupport", "TextFormats",
                "TransportSecurity", "YAMLParsing",
                argumentParser, lifecycle, logging, nioCore, nioPosix,
            ]),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "CNetfilter", "Churn", "ClusterModel", "Conntrack", "Fleet", "FlowIngest", "FlowModel", "FlowWire",
                "InventoryFile", "KubenetmonAgent", "KubenetmonServer", "KubernetesAPI", "KubernetesTestKit",
                "TestSupport", logging, nioCore, nioPosix,
            ]),
    ]
)

for target in package.targets where target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + swiftSettings
}
