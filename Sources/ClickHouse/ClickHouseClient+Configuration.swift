// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

extension ClickHouseClient {
    /// ClickHouse's endpoints, and the credentials and connection settings for them.
    public struct Configuration: Equatable, Sendable {
        /// The `http://` or `https://` URLs without a query, such as `http://127.0.0.1:8123`; at least one. If one
        /// fails, the next is tried.
        public var endpoints: [String]
        /// Text to add to the error if no connection to an endpoint can be made, by URL: the setting to check.
        public var remedies: [String: String]
        /// The database of the tables.
        public var database: String
        /// The user and the password, which are sent in header fields, never in a URL.
        public var credentials: ClickHouseCredentials
        /// Additional header fields, for a proxy in front of ClickHouse.
        public var headers: [String: String]
        /// The TLS settings of `https://` connections.
        public var tls: HTTPClient.TLS
        /// The proxy between this client and ClickHouse.
        public var proxy: HTTPClient.Proxy
        /// The `User-Agent`, a program and its version; it appears in the column `http_user_agent` of
        /// `system.query_log`.
        public var userAgent: String
        /// The timeout of connecting, in milliseconds.
        public var connectTimeoutMilliseconds: Int
        /// The timeout of a response from ClickHouse, in milliseconds.
        public var timeoutMilliseconds: Int

        /// Makes a configuration from its parts.
        public init(
            endpoints: [String], remedies: [String: String] = [:], database: String = "default",
            credentials: ClickHouseCredentials = .none, headers: [String: String] = [:],
            tls: HTTPClient.TLS = HTTPClient.TLS(), proxy: HTTPClient.Proxy = .none,
            userAgent: String = "kubenetmon", connectTimeoutMilliseconds: Int = 30_000,
            timeoutMilliseconds: Int = 120_000
        ) {
            precondition(!endpoints.isEmpty, "a client without a server")
            self.endpoints = endpoints
            self.remedies = remedies
            self.database = database
            self.credentials = credentials
            self.headers = headers
            self.tls = tls
            self.proxy = proxy
            self.userAgent = userAgent
            self.connectTimeoutMilliseconds = connectTimeoutMilliseconds
            self.timeoutMilliseconds = timeoutMilliseconds
        }
    }
}
