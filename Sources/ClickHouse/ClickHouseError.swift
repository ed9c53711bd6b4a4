// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

/// The reason for which a request to ClickHouse failed.
public enum ClickHouseError: Error, Equatable, Sendable {
    /// There was no response.
    case unreachable(endpoint: String, HTTPError)
    /// ClickHouse responded with an exception; the codes are those of src/Common/ErrorCodes.cpp.
    case exception(code: Int, message: String)
    /// A materialized view on the table failed with an exception. The table may have the rows.
    case failingView(name: String, code: Int, message: String)
    /// The response is not ClickHouse's but, for example, a proxy's; `retryAfter` is the delay that it asks for.
    case unexpectedAnswer(endpoint: String, status: Int, body: String, retryAfter: Duration? = nil)
    /// The table does not exist.
    case missingTable(name: String)
    /// The table exists but lacks columns that every row needs.
    case missingColumns(table: String, columns: [String])
    /// The files with the user and the password cannot be read.
    case unreadableCredentials(String)

    /// All values of ``reason``.
    public static let reasons =
        HTTPError.Kind.allCases.map { "\($0)" } + [
            "too_many_parts", "memory_limit", "unknown_table", "exception", "rejected", "refused_data",
            "failing_view", "too_large", "unexpected_answer", "missing_columns", "credentials",
        ]

    /// A short name for metrics: one of ``reasons``.
    public var reason: String {
        switch self {
        case .unreachable(_, let error): "\(error.kind)"
        case .exception(Self.tooManyParts, _): "too_many_parts"
        case .exception(Self.memoryLimitExceeded, _): "memory_limit"
        case .exception(Self.timeoutExceeded, _): "timeout"
        case .exception(Self.unknownTable, _), .exception(Self.unknownDatabase, _), .missingTable: "unknown_table"
        case .exception:
            switch failureClass {
            case .transient: "exception"
            case .operator: "rejected"
            case .content, .view: "refused_data"
            }
        case .failingView: "failing_view"
        case .unexpectedAnswer(_, Self.tooLargeStatus, _, _): "too_large"
        case .unexpectedAnswer: "unexpected_answer"
        case .missingColumns: "missing_columns"
        case .unreadableCredentials: "credentials"
        }
    }
}

extension ClickHouseError {
    /// True if a materialized view failed, so that the table may have the rows.
    var isOfView: Bool {
        if case .failingView = self { true } else { false }
    }

    /// Whether the body was rejected for its size.
    var isTooLarge: Bool {
        if case .unexpectedAnswer(_, Self.tooLargeStatus, _, _) = self { true } else { false }
    }
}

extension ClickHouseError: CustomStringConvertible {
    /// The failure, and the remedy.
    public var description: String {
        switch self {
        case .unreachable(let endpoint, let error): "ClickHouse at \(endpoint) cannot be reached: \(error)"
        case .exception(let code, let message): "ClickHouse responded with exception \(code): \(message)"
        case .failingView(let name, let code, let message):
            "the materialized view \(name) failed with exception \(code): \(message)"
        case .unexpectedAnswer(let endpoint, Self.tooLargeStatus, _, _):
            """
            \(endpoint) rejects a request body as too large (status \(Self.tooLargeStatus)): raise the limit of the \
            proxy in front of ClickHouse (nginx: client_max_body_size)
            """
        case .unexpectedAnswer(let endpoint, let status, let body, _):
            "\(endpoint) sent a response that is not ClickHouse's, with status \(status): \(body.prefix(200))"
        case .unreadableCredentials(let reason): "ClickHouse's user and password cannot be read: \(reason)"
        case .missingTable(let name):
            """
            table \(name) does not exist; create it with kubenetmon-server migrate or \
            deploy/clickhouse/001_network_flows_0.sql, or set clickhouse_migrate: auto
            """
        case .missingColumns(let table, let columns):
            """
            table \(table) has no column \(columns.joined(separator: ", ")); create the table with \
            deploy/clickhouse/001_network_flows_0.sql
            """
        }
    }
}
