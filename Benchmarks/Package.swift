// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let parts: Target.Dependency = .product(name: "KubenetmonServerParts", package: "kubenetmon")
let wire: Target.Dependency = .product(name: "KubenetmonWireFormat", package: "kubenetmon")
let kubernetesTestKit: Target.Dependency = .product(name: "KubernetesTestKit", package: "kubenetmon")

let package = Package(
    name: "kubenetmon-benchmarks",
    dependencies: [
        .package(name: "kubenetmon", path: ".."),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    ],
    targets: [
        .executableTarget(name: "ConntrackEnd", linkerSettings: [.linkedLibrary("mnl")]),
        .executableTarget(name: "ConntrackFill"),
        .executableTarget(name: "RawDump", linkerSettings: [.linkedLibrary("mnl")]),
        .executableTarget(
            name: "ServerLoad", dependencies: [wire],
            linkerSettings: [.linkedLibrary("lz4"), .linkedLibrary("pthread")]),
        .target(name: "CProbe"),
        .target(name: "CReference"),
        .target(name: "SyntheticCluster", dependencies: [parts]),
        .executableTarget(name: "ClusterFixture", dependencies: ["SyntheticCluster", kubernetesTestKit]),
        .executableTarget(
            name: "LabelBench",
            dependencies: [
                "CProbe", "CReference", "SyntheticCluster", parts, .product(name: "Logging", package: "swift-log"),
            ]),
    ]
)

// As in the daemons' package, a warning is an error in CI only.
let isCI = Context.environment["CI"] != nil

for target in package.targets where target.type == .regular || target.type == .executable {
    target.swiftSettings =
        [.enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault")]
        + (isCI ? [.treatAllWarnings(as: .error)] : [])
    target.cSettings = [.enableWarning("all"), .enableWarning("extra")] + (isCI ? [.treatAllWarnings(as: .error)] : [])
}
