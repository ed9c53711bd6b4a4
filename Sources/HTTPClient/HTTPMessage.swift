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
    /// How long the whole exchange may take, in milliseconds.
    public var timeoutMilliseconds: Int
    /// How long connecting may take, in milliseconds.
    public var connectTimeoutMilliseconds: Int

    /// Makes a request of its parts.
    public init(
        _ method: Method, url: String, headers: [(name: String, value: String)] = [],
        timeoutMilliseconds: Int, connectTimeoutMilliseconds: Int
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.timeoutMilliseconds = timeoutMilliseconds
        self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
    }
}

/// What an HTTP server answered.
public struct HTTPResponse: Sendable {
    /// The status code.
    public let status: Int
    /// Header fields by their names in lower case; of a repeated field, the last value.
    public let headers: [String: String]
    /// The body.
    public let body: [UInt8]

    /// The body as text; what is not UTF-8 in it is replaced.
    public var text: String { String(decoding: body, as: UTF8.self) }
}
