// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

/// A client of ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) with persistent connections.
/// It uses one of its endpoints until ``moveOn()`` is called, and blocks its thread.
public struct ClickHouseClient: ~Copyable {
    /// The body of an `INSERT`.
    struct Body: Sendable {
        /// The data in the statement's format, compressed with `compression`.
        var bytes: [UInt8]
        /// The compression of the bytes.
        var compression: InsertCompression

        /// Makes a body from its parts.
        init(_ bytes: [UInt8], compression: InsertCompression = .none) {
            self.bytes = bytes
            self.compression = compression
        }
    }

    /// The mutable state of a client, which is used by one thread at a time.
    private final class Position {
        var endpoint = 0
        var lastServer: String?
    }

    private let configuration: Configuration
    private let cancellation: HTTPCancellation?
    private let http: HTTPClient
    private let position = Position()

    /// Makes a client that connects with its first request.
    ///
    /// - Parameters:
    ///   - configuration: ClickHouse's endpoints and the settings of connections.
    ///   - cancellation: Cancels requests from another thread.
    public init(_ configuration: Configuration, cancellation: HTTPCancellation? = nil) {
        self.configuration = configuration
        self.cancellation = cancellation
        http = HTTPClient(tls: configuration.tls, proxy: configuration.proxy)
    }

    /// The endpoint in use.
    var endpoint: String { configuration.endpoints[position.endpoint] }

    /// The display name of the server that responded last.
    var lastServer: String? { position.lastServer }

    /// Switches to the next endpoint; after the last one, to the first.
    func moveOn() { position.endpoint = (position.endpoint + 1) % configuration.endpoints.count }

    /// Runs a statement that has the same effect if it is repeated, and returns its output, in TabSeparated form unless
    /// the statement names another format. If the endpoint may be at fault, the other endpoints are tried before an error
    /// is thrown.
    ///
    /// - Parameters:
    ///   - sql: The statement.
    ///   - settings: Settings of this statement only.
    package func query(
        _ sql: String, settings: [(name: String, value: String)] = []
    ) throws(ClickHouseError) -> String {
        var untried = configuration.endpoints.count
        while true {
            do throws(ClickHouseError) {
                return try queryEndpoint(sql, settings: settings)
            } catch {
                untried -= 1
                guard untried > 0, error.failureClass == .transient else { throw error }
                moveOn()
            }
        }
    }

    /// Runs a read-only statement on the endpoint in use only, and returns its output.
    func queryEndpoint(
        _ sql: String, settings: [(name: String, value: String)] = []
    ) throws(ClickHouseError) -> String {
        try perform(.post(Array(sql.utf8)), parameters: settings, headers: []).text
    }

    /// Runs an `INSERT … FORMAT …` statement on a body of data.
    ///
    /// - Parameters:
    ///   - statement: The statement without data; it is sent in the URL.
    ///   - body: The data.
    ///   - settings: Settings of this statement only.
    func insert(
        _ statement: String, _ body: Body, settings: [(name: String, value: String)] = []
    ) throws(ClickHouseError) {
        let response = try perform(
            .post(body.bytes), parameters: [("query", statement)] + settings,
            headers: body.compression.contentEncoding.map { [("Content-Encoding", $0)] } ?? [])
        // An exception raised after the headers were sent comes with status 200, in the body.
        guard response.body.isEmpty else { throw exception(in: response, code: nil) }
    }

    private func perform(
        _ method: HTTPRequest.Method, parameters: [(name: String, value: String)],
        headers: [(name: String, value: String)]
    ) throws(ClickHouseError) -> HTTPResponse {
        let query = HTTPRequest.query([("database", configuration.database)] + parameters)
        var headers = headers + configuration.headers.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        let (user, password): (String, String)
        do { (user, password) = try configuration.credentials.read() } catch {
            throw .unreadableCredentials("\(error)")
        }
        headers.append(("User-Agent", configuration.userAgent))
        if !user.isEmpty { headers.append(("X-ClickHouse-User", user)) }
        if !password.isEmpty { headers.append(("X-ClickHouse-Key", password)) }
        let response: HTTPResponse
        do {
            response = try http.perform(
                HTTPRequest(
                    method, url: "\(endpoint)/?\(query)", headers: headers,
                    timeoutMilliseconds: configuration.timeoutMilliseconds,
                    connectTimeoutMilliseconds: configuration.connectTimeoutMilliseconds),
                cancellation: cancellation)
        } catch {
            let remedy = error.kind == .tls || error.isOfHandshake ? configuration.remedies[endpoint] : nil
            throw .unreachable(endpoint: endpoint, remedy.map(error.advising) ?? error)
        }
        position.lastServer = response.headers["x-clickhouse-server-display-name"]
        if let code = response.headers["x-clickhouse-exception-code"] {
            throw exception(in: response, code: Int(code))
        }
        // Every response of ClickHouse has some of these header fields. A response without them comes from something
        // else, such as a proxy, and says nothing about the rows.
        guard response.status == 200, response.headers.keys.contains(where: { $0.hasPrefix("x-clickhouse-") }) else {
            throw .unexpectedAnswer(
                endpoint: endpoint, status: response.status, body: response.text, retryAfter: response.head.retryAfter)
        }
        return response
    }

    /// Parses `Code: 60. DB::Exception: …`, which may follow other text. The first code is the exception's own; the
    /// codes of its causes follow.
    private func exception(in response: HTTPResponse, code: Int?) -> ClickHouseError {
        let text = response.text
        let message = text.firstRange(of: "Code: ").map { text[$0.lowerBound...] }
        let digits = message?.dropFirst("Code: ".count).prefix { $0.isASCII && $0.isNumber }
        guard let code = code ?? digits.flatMap({ Int($0) }) else {
            return .unexpectedAnswer(endpoint: endpoint, status: response.status, body: text)
        }
        let start = String((message ?? text[...]).prefix(1000).prefix { !$0.isNewline })
        // The name is at the end, after the view's expression, which may be of any length.
        let end = text.suffix(2000)
        if let view = end.firstMatch(of: /while pushing to view (\S+?)\.?(?:\s|$)/)?.output.1 {
            return .failingView(name: String(view.prefix(200)), code: code, message: start)
        }
        // This message has the name of the view's target table instead of the view's.
        if let target = end.firstMatch(of: /Target table '([^']+)' of view/)?.output.1 {
            return .failingView(name: "into \(target.prefix(200))", code: code, message: start)
        }
        return .exception(code: code, message: start)
    }
}
