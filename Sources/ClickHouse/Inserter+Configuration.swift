// SPDX-License-Identifier: Apache-2.0

import Retry

extension Inserter {
    /// The settings of an inserter.
    public struct Configuration: Equatable, Sendable {
        /// The settings of the connections to ClickHouse.
        public var client: ClickHouseClient.Configuration
        /// The number of concurrent inserts.
        public var workers: Int
        /// The compression of bodies.
        public var compression: InsertCompression
        /// Whether ClickHouse collects inserts before it writes them.
        public var asyncInsert: AsyncInsert
        /// The handling of a batch that a materialized view fails on.
        public var viewErrors: ViewErrors
        /// Time limits for retries after failures of views.
        var viewLimits = ViewFailures.Limits()
        /// The handling of bodies that a proxy rejects for their size.
        var sizeRefusals = SizeRefusals()
        /// The dead-letter directory for rejected batches; nil for none. They are counted as lost either way.
        public var deadLetters: DeadLetterDirectory.Configuration?
        /// Delays after failures that pass by themselves.
        var backoff = Backoff.insert
        /// Delays after failures that need an operator.
        var slowBackoff = Backoff.insertNeedingOperator

        /// The handling of bodies that a proxy rejects for their size.
        struct SizeRefusals: Equatable, Sendable {
            /// The interval of probes: a body above the known limit is sent to detect a raised limit, since small
            /// inserts cost more than a rejection.
            var probeInterval = Duration.seconds(60)
            /// The maximum time for which a batch that may be stored is set aside before it is split anyway: a known,
            /// counted duplicate is better than memory that is never freed.
            var longestSetAside = Duration.seconds(900)
        }

        /// Makes a configuration from its parts.
        public init(
            client: ClickHouseClient.Configuration, workers: Int = 4,
            compression: InsertCompression = .lz4, asyncInsert: AsyncInsert = .automatic,
            viewErrors: ViewErrors = .automatic, deadLetters: DeadLetterDirectory.Configuration? = nil
        ) {
            self.client = client
            self.workers = workers
            self.compression = compression
            self.asyncInsert = asyncInsert
            self.viewErrors = viewErrors
            self.deadLetters = deadLetters
        }
    }
}
