// SPDX-License-Identifier: Apache-2.0

public import HTTPClient

extension ClickHouseClient {
    /// Where ClickHouse is, and as whom to speak to it.
    public struct Configuration: Equatable, Sendable {
        /// The `http://` or `https://` URLs without a query, such as `http://127.0.0.1:8123`; at least one. Where one does
        /// not do its work, the next is tried.
        public var endpoints: [String]
        /// What to add to the error where no connection to an endpoint can be made: which setting to look at, by URL.
        public var remedies: [String: String]
        /// The database that tables are in.
        public var database: String
        /// The user and the password. They travel in header fields, never in a URL.
        public var credentials: ClickHouseCredentials
        /// Header fields for a proxy in between.
        public var headers: [String: String]
        /// How the sides of an `https://` connection prove who they are.
        public var tls: HTTPClient.TLS
        /// What stands between this client and ClickHouse.
        public var proxy: HTTPClient.Proxy
        /// Who asks, for the column `http_user_agent` of `system.query_log`: a program and its version.
        public var userAgent: String
        /// How long connecting may take, in milliseconds.
        public var connectTimeoutMilliseconds: Int
        /// How long ClickHouse may take for an answer, in milliseconds.
        public var timeoutMilliseconds: Int

        /// Makes a configuration of its parts.
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
