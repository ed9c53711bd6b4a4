// SPDX-License-Identifier: Apache-2.0

/// A request to an HTTP server.
public struct HTTPRequest: Sendable {
    /// What is done with the resource.
    public enum Method: Sendable {
        /// Read it.
        case get
        /// Send these bytes to it.
        case post([UInt8])
    }

    /// What is done.
    public var method: Method
    /// An `http://` or `https://` URL.
    public var url: String
    /// Header fields in their order.
    public var headers: [(name: String, value: String)]
    /// How long the whole exchange may take, in milliseconds; nil for as long as it likes, such as a watch.
    public var timeoutMilliseconds: Int?
    /// How long connecting may take, the TLS handshake included, in milliseconds.
    public var connectTimeoutMilliseconds: Int
    /// How long the server may take until its answer begins, connecting included, in milliseconds; nil for as long as the
    /// whole exchange may take.
    public var headTimeoutMilliseconds: Int?
    /// The longest body that is gathered, in bytes. A body that is streamed has no bound.
    public var maximumResponseBytes: Int
    /// How often the server may send on to another place, which must be `https://`. With 0 a redirection is an answer like
    /// any other. Header fields travel along, `Authorization` to the same host alone.
    public var maximumRedirects: Int

    /// Makes a request of its parts.
    public init(
        _ method: Method, url: String, headers: [(name: String, value: String)] = [],
        timeoutMilliseconds: Int?, connectTimeoutMilliseconds: Int, headTimeoutMilliseconds: Int? = nil,
        maximumResponseBytes: Int = HTTPClient.maximumResponseBytes,
        maximumRedirects: Int = 0
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.timeoutMilliseconds = timeoutMilliseconds
        self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
        self.headTimeoutMilliseconds = headTimeoutMilliseconds
        self.maximumResponseBytes = maximumResponseBytes
        self.maximumRedirects = maximumRedirects
    }
}

/// What an HTTP server's answer begins with.
public struct HTTPHead: Equatable, Sendable {
    /// The status code.
    public let status: Int
    /// Header fields by their names in lower case; of a repeated field, the last value.
    public let headers: [String: String]

    /// Makes a head of its parts; names are in lower case.
    public init(status: Int, headers: [String: String] = [:]) {
        self.status = status
        self.headers = headers
    }

    /// How long the server asks to be left alone (`Retry-After` in seconds); nil where it does not say, or names a date.
    public var retryAfter: Duration? {
        headers["retry-after"].flatMap { UInt32($0) }.map { .seconds(Int64($0)) }
    }
}

/// What an HTTP server answered.
public struct HTTPResponse: Sendable {
    /// The status and the header fields.
    public let head: HTTPHead
    /// The body.
    public let body: [UInt8]

    /// The status code.
    public var status: Int { head.status }

    /// Header fields by their names in lower case; of a repeated field, the last value.
    public var headers: [String: String] { head.headers }

    /// The body as text; what is not UTF-8 in it is replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }
}
