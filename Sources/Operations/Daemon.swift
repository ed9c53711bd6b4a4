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

    /// What a program calls itself to servers (RFC 9110, section 10.1.5): `kubenetmon-server/0.1.0 (2c26b46b68ff)`.
    public static func userAgent(_ program: String) -> String { "\(program)/\(version)" }

    /// The hash of the commit that this was built from; empty where the build was not told.
    private static let commit = String(cString: kubenetmon_build_commit)

    /// An end that was not asked for, or that took too long. What happened stands in the log already.
    public struct Failure: Error {}

    /// Runs services until SIGTERM or SIGINT, then stops them in reverse order and returns.
    ///
    /// Where a service fails, or ends without having been asked to, the reason is logged at once and all others are stopped
    /// in the same order. Either way the end has bounds, whatever services do: services that have not stopped after
    /// `shutdownTimeout` and 10 s, or 3 s after a failure, are cancelled, and 1.5 s later the process exits with 1.
    ///
    /// - Parameters:
    ///   - services: Services in the order in which they start. Each ends by itself after a graceful shutdown, and at once
    ///     where its task is cancelled.
    ///   - shutdownTimeout: Time that services may wait for the network after SIGTERM.
    ///   - logger: For what fails.
    public static func run(
        _ services: [any Service], shutdownTimeout: Duration, logger: Logger
    ) async throws(Failure) {
        try await run(services, until: DaemonEnd(DaemonEnd.Bounds(shutdownTimeout: shutdownTimeout), logger), logger)
    }

    /// Makes a group of services that one of the daemon's services runs, for a part of the daemon's time.
    ///
    /// Where one of them fails, or ends without having been asked to, the reason is logged at once and the others are stopped
    /// in reverse order; the group's `run()` then throws ``Failure``, and so should the service. The daemon's end has the same
    /// bounds as where one of its own services fails.
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

/// A service whose failure is logged where it happens: the group tells of it only when all others have ended.
private struct SupervisedService: Service, CustomStringConvertible {
    let description: String
    private let service: any Service
    private let end: DaemonEnd
    /// True for a service whose shutdown need not be the daemon's.
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
            // A part of it has failed, and that is logged.
            throw Daemon.Failure()
        } catch {
            end.failed(description, "\(error)")
            throw Daemon.Failure()
        }
        guard Task.isShuttingDownGracefully || Task.isCancelled else {
            end.failed(description, "it ended although nothing asked it to")
            throw Daemon.Failure()
        }
    }
}
