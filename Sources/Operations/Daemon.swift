// SPDX-License-Identifier: Apache-2.0

public import Logging
public import ServiceLifecycle

/// What both daemons do alike.
public enum Daemon {
    /// The release that this is.
    public static let version = "0.1.0"

    /// Runs services until SIGTERM or SIGINT, then stops them in reverse order and returns. Throws where a service ends
    /// with an error.
    public static func run(_ services: [any Service], logger: Logger) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
