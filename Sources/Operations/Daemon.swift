// SPDX-License-Identifier: Apache-2.0

import CBuildCommit
public import Logging
public import ServiceLifecycle

/// The version and the lifecycle that both daemons share.
public enum Daemon {
    /// This release's version.
    public static let release = "0.1.0"

    /// The release, followed by the first 12 digits of the commit's hash if the build knew it: `0.1.0 (2c26b46b68ff)`.
    public static let version = commit.isEmpty ? release : "\(release) (\(commit.prefix(12)))"

    /// Returns a program's `User-Agent` (RFC 9110, section 10.1.5): `kubenetmon-server/0.1.0 (2c26b46b68ff)`.
    public static func userAgent(_ program: String) -> String { "\(program)/\(version)" }

    /// The hash of the commit that was built; empty if the build did not know it.
    private static let commit = String(cString: kubenetmon_build_commit)

    /// The daemon failed, or its shutdown took too long. The log already has the reason.
    public struct Failure: Error {}

    /// Runs services until SIGTERM or SIGINT, then stops them in reverse order and returns.
    ///
    /// If a service fails, or ends without being asked to, the reason is logged at once and all others are stopped in
    /// the same order. The shutdown has time limits whatever the services do: services that have not stopped
    /// `shutdownTimeout` plus 10 s after SIGTERM, or 3 s after a failure, are cancelled; 1.5 s later the process exits
    /// with 1.
    ///
    /// - Parameters:
    ///   - services: Services in the order in which they start. Each must end by itself after a graceful shutdown, and
    ///     at once when its task is cancelled.
    ///   - shutdownTimeout: Time for which services may wait for the network after SIGTERM.
    ///   - logger: Logs failures.
    public static func run(
        _ services: [any Service], shutdownTimeout: Duration, logger: Logger
    ) async throws(Failure) {
        try await run(services, until: DaemonEnd(DaemonEnd.Bounds(shutdownTimeout: shutdownTimeout), logger), logger)
    }

    /// Makes a group of services that one of the daemon's services runs for a part of the daemon's lifetime.
    ///
    /// If one of them fails, or ends without being asked to, the reason is logged at once and the others are stopped in
    /// reverse order; the group's `run()` then throws ``Failure``, and the service that runs the group should throw it
    /// too. The daemon's shutdown then has the same time limits as after a failure of one of its own services.
    public static func makeGroup(_ services: [any Service], logger: Logger) -> ServiceGroup {
        ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { service in
                    ServiceGroupConfiguration.ServiceConfiguration(
                        service: DaemonEnd.current.map { end in SupervisedService(service, end, isPart: true) }
                            ?? service,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                }, logger: logger))
    }

    static func run(_ services: [any Service], until end: DaemonEnd, _ logger: Logger) async throws(Failure) {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map {
                    ServiceGroupConfiguration.ServiceConfiguration(
                        service: SupervisedService($0, end), failureTerminationBehavior: .gracefullyShutdownGroup)
                }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        let running = Task { try await DaemonEnd.$current.withValue(end) { try await group.run() } }
        end.onDeadline { running.cancel() }
        let result = await running.result
        let isOrderly = end.disarm()
        guard case .success = result, isOrderly else { throw Failure() }
    }
}

/// A service whose failure is logged when it happens: the group reports it only after all others have ended.
private struct SupervisedService: Service, CustomStringConvertible {
    let description: String
    private let service: any Service
    private let end: DaemonEnd
    /// True for a service of a group: its shutdown may be the group's only and does not start the daemon's.
    private let isPart: Bool

    init(_ service: any Service, _ end: DaemonEnd, isPart: Bool = false) {
        self.service = service
        self.end = end
        self.isPart = isPart
        description = (service as? any CustomStringConvertible)?.description ?? "\(type(of: service))"
    }

    func run() async throws {
        end.started(description)
        defer { end.ended(description) }
        do {
            try await withGracefulShutdownHandler {
                try await service.run()
            } onGracefulShutdown: {
                if !isPart { end.shutdownBegins() }
            }
        } catch is CancellationError where Task.isCancelled {
            return
        } catch is Daemon.Failure {
            // One of the service's own services has failed and has logged the reason.
            throw Daemon.Failure()
        } catch {
            end.failed(description, "\(error)")
            throw Daemon.Failure()
        }
        guard Task.isShuttingDownGracefully || Task.isCancelled else {
            end.failed(description, "the service ended although no shutdown was requested")
            throw Daemon.Failure()
        }
    }
}
