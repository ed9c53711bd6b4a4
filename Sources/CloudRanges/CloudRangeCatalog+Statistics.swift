// SPDX-License-Identifier: Apache-2.0

extension CloudRangeCatalog {
    /// The statistics of all lists together.
    public struct Statistics: Equatable, Sendable {
        /// The lists in use, in the order of ``RangeProvider/allCases``.
        public var sources: [SourceStatistics] = []
        /// Prefixes after the merge.
        public var prefixes = 0
        /// Prefixes that more than one cloud's lists contain.
        package var contested = 0
        /// Changes of the merged ranges.
        public var changes: UInt64 = 0

        /// Whether every list has been loaded, from its source or from the cache, or has failed at least once. Also
        /// true if no list is used.
        public var hasTriedAll: Bool { sources.allSatisfy { $0.origin != .none || $0.failures > 0 } }

        /// Makes the statistics of no lists.
        public init() {}
    }

    /// The statistics of one list.
    public struct SourceStatistics: Equatable, Sendable {
        /// The origin of the ranges in use.
        public enum Origin: String, Equatable, Sendable, CaseIterable {
            /// No ranges are in use.
            case none
            /// The list's URL.
            case url
            /// The list's file.
            case file
            /// The last good copy, cached by an earlier process.
            case cache
        }

        /// The list's provider.
        public var provider: RangeProvider
        /// Distinct prefixes in the list.
        public var prefixes = 0
        /// Entries of the list that could not be read.
        public var skipped = 0
        /// The origin of the ranges in use.
        public var origin = Origin.none
        /// The time at which the ranges in use were last confirmed to be what the URL has, or at which the file was
        /// last modified, in seconds since 1970-01-01 (UTC); nil without ranges.
        var confirmed: Int?
        /// Seconds since ``confirmed``; nil without ranges.
        public var age: Int?
        /// Documents requested. Checks of files that had not changed or could not be opened do not count, so this may
        /// be less than ``successes``, ``failures`` or both.
        var fetches: UInt64 = 0
        /// Attempts that succeeded, including those that found nothing changed.
        public var successes: UInt64 = 0
        /// Attempts that failed.
        public var failures: UInt64 = 0
        /// Attempts answered with 304 (not modified).
        var notModified: UInt64 = 0
        /// The reason for the last attempt's failure; nil after a success.
        public var lastError: String?

        /// Makes the statistics of a provider's list that has not been loaded yet.
        public init(provider: RangeProvider) { self.provider = provider }
    }
}
