// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

/// ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) over connections that are kept. It speaks to
/// one of its endpoints until it is told to move on, and blocks its thread.
public struct ClickHouseClient: ~Copyable {
    /// The body of an `INSERT`.
    public struct Body: Sendable {
        /// The data in the statement's format, compressed as `compression` says.
        public var bytes: [UInt8]
        /// How the bytes are compressed.
        public var compression: InsertCompression

        /// Makes a body of its parts.
        public init(_ bytes: [UInt8], compression: InsertCompression = .none) {
            self.bytes = bytes
            self.compression = compression
        }
    }

    /// What changes while a client is used; it is used by one thread at a time.
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
    ///   - configuration: Where ClickHouse is.
    ///   - cancellation: What can end requests from another thread.
    public init(_ configuration: Configuration, cancellation: HTTPCancellation? = nil) {
        self.configuration = configuration
        self.cancellation = cancellation
        http = HTTPClient(tls: configuration.tls, proxy: configuration.proxy)
    }

    /// The endpoint that is spoken to.
    public var endpoint: String { configuration.endpoints[position.endpoint] }

    /// What the server that answered last calls itself.
    var lastServer: String? { position.lastServer }

    /// Speaks to the next endpoint from now on, after the last to the first again.
    public func moveOn() { position.endpoint = (position.endpoint + 1) % configuration.endpoints.count }

    /// Runs a statement that only reads and returns what it prints; in TabSeparated form unless it names another format.
    /// Where the fault may be the endpoint's, the others are tried before an error is thrown.
    public func query(_ sql: String) throws(ClickHouseError) -> String {
        var untried = configuration.endpoints.count
        while true {
            do throws(ClickHouseError) {
                return try queryEndpoint(sql)
            } catch {
                untried -= 1
                guard untried > 0, error.failureClass == .transient else { throw error }
                moveOn()
            }
        }
    }

    /// The same, of the endpoint that is spoken to alone.
    public func queryEndpoint(_ sql: String) throws(ClickHouseError) -> String {
        try perform(.post(Array(sql.utf8)), parameters: [], headers: []).text
    }

    /// Runs an `INSERT … FORMAT …` statement on a body of data.
    ///
    /// - Parameters:
    ///   - statement: The statement without data; it travels in the URL.
    ///   - body: The data.
    ///   - settings: Settings of this statement alone.
    public func insert(
        _ statement: String, _ body: Body, settings: [(name: String, value: String)] = []
    ) throws(ClickHouseError) {
        let response = try perform(
            .post(body.bytes), parameters: [("query", statement)] + settings,
            headers: body.compression.contentEncoding.map { [("Content-Encoding", $0)] } ?? [])
        // An exception after the headers are out comes with status 200, in the body.
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
        // Every answer of ClickHouse has some of these. One that has none is somebody else's, and says nothing of the rows.
        guard response.status == 200, response.headers.keys.contains(where: { $0.hasPrefix("x-clickhouse-") }) else {
            throw .unexpectedAnswer(
                endpoint: endpoint, status: response.status, body: response.text, retryAfter: response.head.retryAfter)
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
            return .unexpectedAnswer(endpoint: endpoint, status: response.status, body: text)
        }
        let start = String((message ?? text[...]).prefix(1000).prefix { !$0.isNewline })
        // The name stands at the end, behind the view's expression, which may be of any length.
        let end = text.suffix(2000)
        if let view = end.firstMatch(of: /while pushing to view (\S+?)\.?(?:\s|$)/)?.output.1 {
            return .failingView(name: String(view.prefix(200)), code: code, message: start)
        }
        // Here ClickHouse gives the table's name for the view's.
        if let target = end.firstMatch(of: /Target table '([^']+)' of view/)?.output.1 {
            return .failingView(name: "into \(target.prefix(200))", code: code, message: start)
        }
        return .exception(code: code, message: start)
    }
}
