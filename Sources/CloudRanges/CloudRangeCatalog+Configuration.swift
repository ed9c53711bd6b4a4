// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import HTTPClient

extension CloudRangeCatalog {
    /// Where a list comes from.
    public enum Source: Equatable, Sendable {
        /// A URL, `https://` unless it is on a trusted network. `YYYYMMDD` in it stands for the day of publication, which
        /// is looked for from today back; ``RangeProvider/publishedURL`` is the provider's own.
        case url(String)
        /// A file, which is read again when it changes.
        case file(String)
    }

    /// Which lists are used, and how they are kept up to date.
    public struct Configuration: Equatable, Sendable {
        /// The lists that are used, and where they come from.
        public var sources: [RangeProvider: Source]
        /// The user's own ranges, which count more than a list's for the same prefix.
        public var namedRanges: [CloudRange]
        /// The directory in which the last good copy of every list that comes from a URL is kept, made where it is
        /// missing; nil to keep none.
        public var cacheDirectory: String?
        /// How long after an answer a URL is asked again, less up to a tenth.
        public var refreshInterval: Duration
        /// How often a file is looked at.
        public var fileCheckInterval: Duration
        /// The bounds of the wait after a failure of a URL, which doubles.
        public var retryWait: ClosedRange<Duration>
        /// How long a fetch may take, in milliseconds.
        public var timeoutMilliseconds: Int
        /// The longest document that is taken, in bytes.
        public var maximumBytes: Int
        /// Whose certificates are trusted. Proxies are those of the environment.
        public var tls: HTTPClient.TLS
        /// Who asks: a program and its version.
        public var userAgent = "kubenetmon"

        /// Makes a configuration; by default every provider's own URL.
        public init(
            sources: [RangeProvider: Source] = Self.published, namedRanges: [CloudRange] = [],
            cacheDirectory: String? = nil, refreshInterval: Duration = .seconds(86_400),
            fileCheckInterval: Duration = .seconds(30),
            retryWait: ClosedRange<Duration> = .seconds(60) ... .seconds(3_600),
            timeoutMilliseconds: Int = 60_000, maximumBytes: Int = 64 << 20, tls: HTTPClient.TLS = .init()
        ) {
            self.sources = sources
            self.namedRanges = namedRanges
            self.cacheDirectory = cacheDirectory
            self.refreshInterval = refreshInterval
            self.fileCheckInterval = fileCheckInterval
            self.retryWait = retryWait
            self.timeoutMilliseconds = timeoutMilliseconds
            self.maximumBytes = maximumBytes
            self.tls = tls
        }

        /// Every list from where its provider publishes it.
        public static let published: [RangeProvider: Source] = Dictionary(
            uniqueKeysWithValues: RangeProvider.allCases.map { ($0, .url($0.publishedURL)) })
    }
}
