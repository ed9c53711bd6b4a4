// SPDX-License-Identifier: Apache-2.0

/// A request to an HTTP server.
public struct HTTPRequest: Sendable {
    /// The request's method.
    public enum Method: Sendable {
        /// A GET.
        case get
        /// A POST of these bytes.
        case post([UInt8])
    }

    /// The method.
    public var method: Method
    /// An `http://` or `https://` URL.
    public var url: String
    /// Header fields in their order.
    public var headers: [(name: String, value: String)]
    /// Time limit of the whole exchange, in milliseconds; nil for none, as for a watch.
    public var timeoutMilliseconds: Int?
    /// Time limit of connecting, TLS handshake included, in milliseconds.
    public var connectTimeoutMilliseconds: Int
    /// Time limit until the response begins, connecting included, in milliseconds; nil for that of the whole exchange.
    public var headTimeoutMilliseconds: Int?
    /// The limit on a buffered response's body, in bytes. A streamed body has no limit.
    public var maximumResponseBytes: Int
    /// Maximum number of redirects, which must go to `https://`. With 0, a redirect is returned like any other
    /// response. Header fields are sent along, `Authorization` only to the same host.
    public var maximumRedirects: Int

    /// Makes a request from its parts.
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

/// The head of an HTTP response.
public struct HTTPHead: Equatable, Sendable {
    /// The status code.
    public let status: Int
    /// Header fields by their lower-case names; of a repeated field, the last value.
    public let headers: [String: String]

    /// Makes a head from its parts; names must be in lower case.
    public init(status: Int, headers: [String: String] = [:]) {
        self.status = status
        self.headers = headers
    }

    /// The delay that the server asks for (`Retry-After` in seconds); nil if there is none, or if it is a date.
    public var retryAfter: Duration? {
        headers["retry-after"].flatMap { UInt32($0) }.map { .seconds(Int64($0)) }
    }
}

/// A whole HTTP response.
public struct HTTPResponse: Sendable {
    /// The status and the header fields.
    public let head: HTTPHead
    /// The body.
    public let body: [UInt8]

    /// The status code.
    public var status: Int { head.status }

    /// Header fields by their lower-case names; of a repeated field, the last value.
    public var headers: [String: String] { head.headers }

    /// The body as text; invalid UTF-8 in it is replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }
}
