// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) over one connection. It blocks its thread.
public struct ClickHouseClient: ~Copyable {
    /// Where ClickHouse is, and as whom to speak to it.
    public struct Configuration: Equatable, Sendable {
        /// The `http://` or `https://` URL without a path's query, such as `http://127.0.0.1:8123`.
        public var endpoint: String
        /// The database that tables are in.
        public var database: String
        /// The user, empty for ClickHouse's `default`.
        public var user: String
        /// The user's password. It travels in a header, never in a URL.
        public var password: String
        /// Whether an `https://` server's certificate is checked.
        public var verifiesServer: Bool
        /// How long connecting may take, in milliseconds.
        public var connectTimeoutMilliseconds: Int
        /// How long ClickHouse may take for an answer, in milliseconds.
        public var timeoutMilliseconds: Int

        /// Makes a configuration of its parts.
        public init(
            endpoint: String, database: String = "default", user: String = "", password: String = "",
            verifiesServer: Bool = true, connectTimeoutMilliseconds: Int = 30_000, timeoutMilliseconds: Int = 120_000
        ) {
            self.endpoint = endpoint
            self.database = database
            self.user = user
            self.password = password
            self.verifiesServer = verifiesServer
            self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
            self.timeoutMilliseconds = timeoutMilliseconds
        }
    }

    private let configuration: Configuration
    private let http: HTTPClient

    /// Makes a client that connects with its first request.
    public init(_ configuration: Configuration) {
        self.configuration = configuration
        http = HTTPClient(tls: HTTPClient.TLS(verifiesServer: configuration.verifiesServer))
    }

    /// Runs a statement and returns what it prints; in TabSeparated form unless it names another format.
    public func query(_ sql: String) throws(ClickHouseError) -> String {
        try perform(.post(Array(sql.utf8)), parameters: []).text
    }

    /// Runs an `INSERT … FORMAT …` statement on a body of data.
    ///
    /// - Parameters:
    ///   - statement: The statement without data; it travels in the URL.
    ///   - data: The data in the statement's format.
    ///   - settings: Settings of this statement alone.
    public func insert(
        _ statement: String, data: [UInt8], settings: [(name: String, value: String)]
    ) throws(ClickHouseError) {
        let response = try perform(.post(data), parameters: [("query", statement)] + settings)
        // An exception after the headers are out comes with status 200, in the body.
        guard response.body.isEmpty else { throw exception(in: response, code: nil) }
    }

    private func perform(
        _ method: HTTPRequest.Method, parameters: [(name: String, value: String)]
    ) throws(ClickHouseError) -> HTTPResponse {
        let query = HTTPRequest.query([("database", configuration.database)] + parameters)
        var headers: [(name: String, value: String)] = []
        if !configuration.user.isEmpty { headers.append(("X-ClickHouse-User", configuration.user)) }
        if !configuration.password.isEmpty { headers.append(("X-ClickHouse-Key", configuration.password)) }
        let response: HTTPResponse
        do {
            response = try http.perform(
                HTTPRequest(
                    method, url: "\(configuration.endpoint)/?\(query)", headers: headers,
                    timeoutMilliseconds: configuration.timeoutMilliseconds,
                    connectTimeoutMilliseconds: configuration.connectTimeoutMilliseconds))
        } catch {
            throw .unreachable(endpoint: configuration.endpoint, error)
        }
        if let code = response.headers["x-clickhouse-exception-code"] {
            throw exception(in: response, code: Int(code))
        }
        // Every answer of ClickHouse has some of these. One that has none is somebody else's, and says nothing of the rows.
        guard response.status == 200, response.headers.keys.contains(where: { $0.hasPrefix("x-clickhouse-") }) else {
            throw .unexpectedAnswer(
                endpoint: configuration.endpoint, status: response.status, body: response.text)
        }
        return response
    }

    /// Reads `Code: 60. DB::Exception: …`, which may stand behind other text. Its first code is its own, those of what
    /// caused it follow.
    private func exception(in response: HTTPResponse, code: Int?) -> ClickHouseError {
        let text = response.text
        let message = text.firstRange(of: "Code: ").map { text[$0.lowerBound...] }
        let digits = message?.dropFirst("Code: ".count).prefix { $0.isASCII && $0.isNumber }
        guard let code = code ?? digits.flatMap({ Int($0) }) else {
            return .unexpectedAnswer(endpoint: configuration.endpoint, status: response.status, body: text)
        }
        return .exception(code: code, message: String((message ?? text[...]).prefix(1000).prefix { !$0.isNewline }))
    }
}
