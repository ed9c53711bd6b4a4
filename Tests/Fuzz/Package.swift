// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let decoders: Target.Dependency = .product(name: "KubenetmonDecoders", package: "kubenetmon")

/// A libFuzzer program for each kind of untrusted input; `make fuzz` builds and runs them.
let package = Package(
    name: "kubenetmon-fuzz",
    dependencies: [
        .package(name: "kubenetmon", path: "../.."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    ],
    targets: [
        .target(name: "CFuzzer", path: "CFuzzer"),
        .executableTarget(
            name: "Frames", dependencies: ["CFuzzer", decoders, .product(name: "NIOCore", package: "swift-nio")],
            path: "Frames"),
        .executableTarget(name: "Netlink", dependencies: ["CFuzzer", decoders], path: "Netlink"),
        .executableTarget(name: "KubernetesObjects", dependencies: ["CFuzzer", decoders], path: "KubernetesObjects"),
    ]
)

for target in package.targets where target.type == .executable {
    target.swiftSettings = [
        .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    ]
}
