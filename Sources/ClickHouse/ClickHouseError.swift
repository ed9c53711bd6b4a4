// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

/// Why ClickHouse did not do what it was asked.
public enum ClickHouseError: Error, Equatable, Sendable {
    /// There was no answer.
    case unreachable(endpoint: String, HTTPError)
    /// ClickHouse answered with an exception; the codes are those of src/Common/ErrorCodes.cpp.
    case exception(code: Int, message: String)
    /// Something else answered, such as a proxy.
    case unexpectedAnswer(endpoint: String, status: Int, body: String)
    /// The table does not exist.
    case missingTable(name: String)
    /// The table exists and lacks columns without which rows would say nothing.
    case missingColumns(table: String, columns: [String])

    /// Whether somebody must do something before the same request can succeed. Such an error is told more loudly.
    public var needsOperator: Bool {
        switch self {
        case .unreachable(_, let error): error.kind == .tls || error.kind == .badRequest
        case .exception(let code, _): Self.codesForOperator.contains(code)
        case .unexpectedAnswer(_, let status, _): (400..<500).contains(status) && status != 408 && status != 429
        case .missingTable, .missingColumns: true
        }
    }

    /// A short name for counters: one of a fixed, small set.
    public var reason: String {
        switch self {
        case .unreachable(_, let error): "\(error.kind)"
        case .exception(Self.tooManyParts, _): "too_many_parts"
        case .exception(Self.memoryLimitExceeded, _): "memory_limit"
        case .exception(Self.timeoutExceeded, _): "timeout"
        case .exception(Self.unknownTable, _), .exception(Self.unknownDatabase, _), .missingTable: "unknown_table"
        case .exception(let code, _) where Self.codesForOperator.contains(code): "rejected"
        case .exception: "exception"
        case .unexpectedAnswer: "unexpected_answer"
        case .missingColumns: "missing_columns"
        }
    }

    static let unknownTable = 60
    static let unknownDatabase = 81
    static let timeoutExceeded = 159
    static let memoryLimitExceeded = 241
    static let tooManyParts = 252

    /// NO_SUCH_COLUMN_IN_TABLE 16, UNKNOWN_IDENTIFIER 47, UNKNOWN_TABLE 60, UNKNOWN_DATABASE 81, UNKNOWN_SETTING 115,
    /// READONLY 164, UNKNOWN_USER 192, WRONG_PASSWORD 193, REQUIRED_PASSWORD 194, ACCESS_DENIED 497,
    /// AUTHENTICATION_FAILED 516.
    private static let codesForOperator: Set<Int> = [
        16, 47, unknownTable, unknownDatabase, 115, 164, 192, 193, 194, 497, 516,
    ]
}

extension ClickHouseError: CustomStringConvertible {
    /// What happened, and what to do about it.
    public var description: String {
        switch self {
        case .unreachable(let endpoint, let error): "ClickHouse at \(endpoint) cannot be reached: \(error)"
        case .exception(let code, let message): "ClickHouse answered with exception \(code): \(message)"
        case .unexpectedAnswer(let endpoint, let status, let body):
            "\(endpoint) answered with status \(status), not as ClickHouse does: \(body.prefix(200))"
        case .missingTable(let name):
            "table \(name) does not exist; create it with deploy/clickhouse/001_network_flows_0.sql"
        case .missingColumns(let table, let columns):
            """
            table \(table) has no column \(columns.joined(separator: ", ")); it must be made with \
            deploy/clickhouse/001_network_flows_0.sql
            """
        }
    }
}
