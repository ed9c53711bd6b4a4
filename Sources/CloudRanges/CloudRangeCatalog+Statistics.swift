// SPDX-License-Identifier: Apache-2.0

extension CloudRangeCatalog {
    /// What is known of all lists together.
    public struct Statistics: Equatable, Sendable {
        /// The lists that are used, in the order of ``RangeProvider/allCases``.
        public var sources: [SourceStatistics] = []
        /// Prefixes after the merge.
        public var prefixes = 0
        /// Prefixes that more than one cloud lists as its own.
        public var contested = 0
        /// How often the merged ranges have changed.
        public var changes: UInt64 = 0

        /// Whether every list has been had, be it from an earlier time, or could not be had once. True as well where none
        /// is used.
        public var hasTriedAll: Bool { sources.allSatisfy { $0.origin != .none || $0.failures > 0 } }

        /// Nothing is known.
        public init() {}
    }

    /// What is known of one list.
    public struct SourceStatistics: Equatable, Sendable {
        /// Where the ranges in use come from.
        public enum Origin: String, Equatable, Sendable, CaseIterable {
            /// Nowhere: there are none.
            case none
            /// The list's URL.
            case url
            /// The list's file.
            case file
            /// The last good copy, from a time before this process.
            case cache
        }

        /// Whose list it is.
        public var provider: RangeProvider
        /// Different prefixes in it.
        public var prefixes = 0
        /// Entries of it that could not be read.
        public var skipped = 0
        /// Where the ranges in use come from.
        public var origin = Origin.none
        /// When the ranges in use were last known to be what the URL has, or when the file was last modified, in seconds
        /// since 1970-01-01 (UTC); nil where there are no ranges.
        public var confirmed: Int?
        /// Seconds since ``confirmed``; nil where there are no ranges.
        public var age: Int?
        /// Documents that were asked for. Files that had not changed or could not be opened are left out, so that there may
        /// be fewer than ``successes``, ``failures`` or both.
        public var fetches: UInt64 = 0
        /// Attempts that succeeded, those among them where nothing had changed.
        public var successes: UInt64 = 0
        /// Attempts that failed.
        public var failures: UInt64 = 0
        /// Attempts whose answer was that the list is the one that is known.
        public var notModified: UInt64 = 0
        /// Why the last attempt failed, nil after a success.
        public var lastError: String?

        /// Nothing is known of a provider's list.
        public init(provider: RangeProvider) { self.provider = provider }
    }
}
