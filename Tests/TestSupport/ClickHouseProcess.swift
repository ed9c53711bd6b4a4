// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// A real ClickHouse that `tools/clickhouse` runs for a test; it can be stopped, killed and restarted with its data.
public final class ClickHouseProcess: Sendable {
    /// The URL at which it listens.
    public let url: String
    private let folder: URL
    private let roles: [String: [String]]
    private let child: ChildProcess

    private init(url: String, folder: URL, roles: [String: [String]], child: ChildProcess) {
        self.url = url
        self.folder = folder
        self.roles = roles
        self.child = child
    }

    /// Starts a ClickHouse without data on a free port.
    ///
    /// - Parameter roles: GRANT statements by role, without their `TO`; for the role `x` there is a user `x_user`.
    public static func start(roles: [String: [String]] = [:]) async throws -> ClickHouseProcess {
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-ch-\(UUID().uuidString)")
        return try await start(folder: folder, port: 0, roles: roles)
    }

    private static func start(
        folder: URL, port: Int, roles: [String: [String]]
    ) async throws -> ClickHouseProcess {
        let (program, arguments) =
            roles.isEmpty
            ? (Repository.file("tools/clickhouse"), [])
            : (
                URL(filePath: "/usr/bin/env"),
                [
                    "python3", "-B", Repository.file("Tests/DeployTests/engine.py").path,
                    String(decoding: try JSONEncoder().encode(roles), as: UTF8.self),
                ]
            )
        let child = try ChildProcess(program, arguments + [folder.path, "\(port)"])
        try await eventually("ClickHouse responds") {
            guard child.isRunning else { throw TestEnvironmentError("tools/clickhouse ended: \(child.output)") }
            return child.output.contains("READY {")
        }
        let url = child.output.firstMatch(of: /"http": "([^"]+)"/)?.output.1
        guard let url else { throw TestEnvironmentError("tools/clickhouse printed no port: \(child.output)") }
        return ClickHouseProcess(url: String(url), folder: folder, roles: roles, child: child)
    }

    /// Kills it with SIGKILL, without a clean shutdown.
    public func kill() async throws {
        child.signal(SIGKILL)
        _ = try await child.wait()
    }

    /// Restarts it with its data on its port, after ``kill()``.
    public func restart() async throws -> ClickHouseProcess {
        guard let port = URLComponents(string: url)?.port else { throw TestEnvironmentError("\(url) has no port") }
        return try await Self.start(folder: folder, port: port, roles: roles)
    }

    /// Stops it and removes its data.
    public func stop() async throws {
        child.signal(SIGTERM)
        _ = try await child.wait()
        try FileManager.default.removeItem(at: folder)
    }
}
