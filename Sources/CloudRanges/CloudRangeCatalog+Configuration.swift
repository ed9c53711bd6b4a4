// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import HTTPClient
import Retry

extension CloudRangeCatalog {
    /// The origin of a list.
    public enum Source: Equatable, Sendable {
        /// A URL, `https://` unless the server is on a trusted network. `YYYYMMDD` in it stands for the day of
        /// publication, which is searched for from today backwards; the provider's own URL is
        /// ``RangeProvider/publishedURL``.
        case url(String)
        /// The path of a file, which is read again when it changes.
        case file(String)
    }

    /// The lists in use and how they are kept up to date.
    public struct Configuration: Equatable, Sendable {
        /// The lists in use, with their origins.
        public var sources: [RangeProvider: Source]
        /// The user's own ranges, which take precedence over a list's for the same prefix.
        public var namedRanges: [CloudRange]
        /// The directory for the last good copy of every list that comes from a URL, created if missing; nil to keep no
        /// copies.
        public var cacheDirectory: String?
        /// The interval between a response and the next request to the same URL; up to a tenth of it is taken off at
        /// random.
        public var refreshInterval: Duration
        /// The interval between checks of a file for changes.
        var fileCheckInterval: Duration
        /// The waits after failures of a URL.
        var backoff = Backoff.rangeList
        /// The time limit of a fetch, in milliseconds.
        public var timeoutMilliseconds: Int
        /// The limit on the length of a document, in bytes.
        public var maximumBytes: Int
        /// The TLS settings of fetches. Proxies are taken from the environment.
        public var tls: HTTPClient.TLS
        /// The `User-Agent` of requests: a program and its version.
        public var userAgent = "kubenetmon"

        /// Makes a configuration, by default with every provider's own URL.
        public init(
            sources: [RangeProvider: Source] = Self.published, namedRanges: [CloudRange] = [],
            cacheDirectory: String? = nil, refreshInterval: Duration = .seconds(86_400),
            fileCheckInterval: Duration = .seconds(30),
            timeoutMilliseconds: Int = 60_000, maximumBytes: Int = 64 << 20, tls: HTTPClient.TLS = .init()
        ) {
            self.sources = sources
            self.namedRanges = namedRanges
            self.cacheDirectory = cacheDirectory
            self.refreshInterval = refreshInterval
            self.fileCheckInterval = fileCheckInterval
            self.timeoutMilliseconds = timeoutMilliseconds
            self.maximumBytes = maximumBytes
            self.tls = tls
        }

        /// Every list, from the URL at which its provider publishes it.
        public static let published: [RangeProvider: Source] = Dictionary(
            uniqueKeysWithValues: RangeProvider.allCases.map { ($0, .url($0.publishedURL)) })
    }
}
