// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let package = Package(
    name: "kubenetmon-benchmarks",
    targets: [
        .executableTarget(name: "ConntrackEnd", linkerSettings: [.linkedLibrary("mnl")]),
        .executableTarget(name: "ConntrackFill"),
        .executableTarget(name: "RawDump", linkerSettings: [.linkedLibrary("mnl")]),
    ]
)
