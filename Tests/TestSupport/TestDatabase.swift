// SPDX-License-Identifier: Apache-2.0

import FoundationNetworking
import Foundation

/// A database of a test's own in a real ClickHouse: the one at `CLICKHOUSE_URL`, or else one that `tools/clickhouse`
/// starts for all tests of the process.
public struct TestDatabase: Sendable {
    /// The server's URL, credentials not included.
    public let url: String
    /// The database's name.
    public let name: String
    /// The user, empty for ClickHouse's `default`.
    public let user: String
    /// The user's password.
    public let password: String

    /// Makes a database, by default with the table `network_flows_0` of deploy/clickhouse/.
    public static func make(withTable: Bool = true) async throws -> TestDatabase {
        try await make(at: try await Server.shared.address(), withTable: withTable)
    }

    /// Makes a database with the table in a ClickHouse of the test's own.
    public static func make(in process: ClickHouseProcess) async throws -> TestDatabase {
        try await make(at: (process.url, "", ""), withTable: true)
    }

    private static func make(
        at server: (url: String, user: String, password: String), withTable: Bool
    ) async throws -> TestDatabase {
        let database = TestDatabase(
            url: server.url, name: "test_\(UUID().uuidString.replacing("-", with: "_").lowercased())",
            user: server.user, password: server.password)
        _ = try await database.query("CREATE DATABASE \(database.name)", inDatabase: "default")
        if withTable { try await database.createTable() }
        return database
    }

    /// Makes the table of deploy/clickhouse/ in this database.
    public func createTable() async throws {
        let file = Repository.file("deploy/clickhouse/001_network_flows_0.sql")
        let ddl = try String(contentsOf: file, encoding: .utf8)
        try await query(ddl)
    }

    /// Runs a statement and returns its output, in TabSeparated form unless it names another format.
    @discardableResult
    public func query(_ sql: String) async throws -> String { try await query(sql, inDatabase: name) }

    /// Runs a statement and returns its rows, each as the texts of its columns.
    public func rows(_ sql: String) async throws -> [[String]] {
        try await query(sql).split(separator: "\n").map {
            $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        }
    }

    private func query(_ sql: String, inDatabase database: String) async throws -> String {
        var request = URLRequest(url: try Self.url("\(url)/?database=\(database)"))
        request.httpMethod = "POST"
        request.timeoutInterval = 300
        request.httpBody = Data(sql.utf8)
        if !user.isEmpty { request.setValue(user, forHTTPHeaderField: "X-ClickHouse-User") }
        if !password.isEmpty { request.setValue(password, forHTTPHeaderField: "X-ClickHouse-Key") }
        let (data, response) = try await URLSession.shared.data(for: request)
        let text = String(decoding: data, as: UTF8.self)
        guard (response as? HTTPURLResponse)?.statusCode == 200 else {
            throw TestEnvironmentError("ClickHouse rejected \(sql.prefix(200)): \(text)")
        }
        return text
    }

    private static func url(_ text: String) throws -> URL {
        guard let url = URL(string: text) else { throw TestEnvironmentError("'\(text)' is not a URL") }
        return url
    }

    /// The server that all tests of the process share.
    private actor Server {
        static let shared = Server()

        private var running: Task<(url: String, user: String, password: String), any Error>?
        private var process: ClickHouseProcess?

        func address() async throws -> (url: String, user: String, password: String) {
            if let running { return try await running.value }
            let task = Task { try await start() }
            running = task
            return try await task.value
        }

        private func start() async throws -> (url: String, user: String, password: String) {
            guard let text = ProcessInfo.processInfo.environment["CLICKHOUSE_URL"], !text.isEmpty else {
                let process = try await ClickHouseProcess.start()
                self.process = process
                return (process.url, "", "")
            }
            guard var parts = URLComponents(string: text) else {
                throw TestEnvironmentError("CLICKHOUSE_URL '\(text)' is not a URL")
            }
            let (user, password) = (parts.user ?? "", parts.password ?? "")
            parts.user = nil
            parts.password = nil
            parts.path = ""
            parts.query = nil
            return (parts.string ?? text, user, password)
        }
    }
}
