// SPDX-License-Identifier: Apache-2.0

import Retry

extension Inserter {
    /// How blocks are sent.
    public struct Configuration: Equatable, Sendable {
        /// Where to.
        public var client: ClickHouseClient.Configuration
        /// Inserts at the same time.
        public var workers: Int
        /// How bodies are compressed.
        public var compression: InsertCompression
        /// Whether ClickHouse gathers inserts before it writes them.
        public var asyncInsert: AsyncInsert
        /// What becomes of a batch that a materialized view fails on.
        public var viewErrors: ViewErrors
        /// How long failures of views are waited out.
        var viewLimits = ViewFailures.Limits()
        /// What is done about bodies that a proxy refuses for their size.
        var sizeRefusals = SizeRefusals()
        /// Where batches go that ClickHouse does not take; nil for nowhere. They are counted as lost either way.
        public var deadLetters: DeadLetterDirectory.Configuration?
        /// Waits after failures that pass by themselves.
        public var retryDelays: Delays
        /// Waits after failures that somebody must mend.
        public var slowRetryDelays: Delays

        /// What is done about bodies that a proxy refuses for their size.
        struct SizeRefusals: Equatable, Sendable {
            /// How often a body beyond the known limit is sent to find out whether that was raised: small inserts cost more
            /// than a refusal.
            var probeInterval = Duration.seconds(60)
            /// For how long a batch that may be stored is set aside before it is split all the same: a known, counted doubling
            /// is better than memory that is never freed.
            var longestSetAside = Duration.seconds(900)
        }

        /// Upper bounds of waits, which grow twofold from the first to the last and have full jitter.
        public struct Delays: Equatable, Sendable {
            /// The bound of the first wait.
            public var initial: Duration
            /// The bound of all waits.
            public var maximum: Duration

            /// Makes bounds.
            public init(initial: Duration, maximum: Duration) {
                self.initial = initial
                self.maximum = maximum
            }

            var backoff: Backoff { Backoff(initial: initial, maximum: maximum) }
        }

        /// Makes a configuration of its parts.
        public init(
            client: ClickHouseClient.Configuration, workers: Int = 4,
            compression: InsertCompression = .lz4, asyncInsert: AsyncInsert = .automatic,
            viewErrors: ViewErrors = .automatic, deadLetters: DeadLetterDirectory.Configuration? = nil,
            retryDelays: Delays = Delays(initial: .milliseconds(200), maximum: .seconds(30)),
            slowRetryDelays: Delays = Delays(initial: .seconds(2), maximum: .seconds(60))
        ) {
            self.client = client
            self.workers = workers
            self.compression = compression
            self.asyncInsert = asyncInsert
            self.viewErrors = viewErrors
            self.deadLetters = deadLetters
            self.retryDelays = retryDelays
            self.slowRetryDelays = slowRetryDelays
        }
    }
}
