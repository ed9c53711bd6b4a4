// SPDX-License-Identifier: Apache-2.0

import CBuildCommit
public import Logging
public import ServiceLifecycle

/// What both daemons do alike.
public enum Daemon {
    /// The release that this is.
    public static let release = "0.1.0"

    /// The release, and the beginning of the commit's hash where the build was told: `0.1.0 (2c26b46b68ff)`.
    public static let version = commit.isEmpty ? release : "\(release) (\(commit.prefix(12)))"

    /// The hash of the commit that this was built from; empty where the build was not told.
    private static let commit = String(cString: kubenetmon_build_commit)

    /// Runs services until SIGTERM or SIGINT, then stops them in reverse order and returns. Throws where a service ends
    /// with an error.
    public static func run(_ services: [any Service], logger: Logger) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
