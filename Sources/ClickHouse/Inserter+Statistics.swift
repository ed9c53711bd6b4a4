// SPDX-License-Identifier: Apache-2.0

public import FlowBlocks
import FlowModel

extension Inserter {
    /// How inserts have gone so far. What became of blocks is in the sink's account.
    public struct Statistics: Equatable, Sendable {
        /// How an endpoint has done.
        public struct Endpoint: Equatable, Sendable {
            /// Its URL.
            public var url: String
            /// Inserts that it was sent.
            public var attempts: UInt64 = 0
            /// Those that failed.
            public var failures: UInt64 = 0
            /// Why the last one failed, nil after a success.
            public var lastError: String?

            /// Nothing was sent to the endpoint.
            public init(url: String) { self.url = url }
        }

        /// What was stored although a materialized view failed: the view may lack it.
        public var withoutViews = BlockAmount()
        /// Batches that were split although an earlier attempt may have stored them whole.
        public var possiblyDoubled = BlockAmount()
        /// Attempts that failed, by ``ClickHouseError/reason``.
        public var failedAttempts: [String: UInt64] = [:]
        /// Attempts that failed, by what can mend it.
        public var failedAttemptsByClass: [FailureClass: UInt64] = [:]
        /// Batches that were sent under another token because ClickHouse had ended and kept their token without their rows.
        public var rescuedBatches: UInt64 = 0
        /// Why the last attempt failed, nil after a success.
        public var lastError: String?
        /// What can mend it.
        public var lastFailureClass: FailureClass?
        /// Why no endpoint takes rows until somebody mends something; nil where it is not so.
        public var operatorError: String?
        /// How each endpoint has done, in the configuration's order.
        public var endpoints: [Endpoint] = []
        /// How long attempts took that succeeded.
        public var successfulAttemptDuration = Histogram(bounds: Histogram.milliseconds)
        /// How long attempts took that failed.
        public var failedAttemptDuration = Histogram(bounds: Histogram.milliseconds)
        /// How old blocks were when ClickHouse had them, since they were begun.
        public var batchAge = Histogram(bounds: Histogram.milliseconds)
        /// How many rows inserts had.
        public var batchRows = Histogram(bounds: Histogram.rows)

        /// Nothing has been sent.
        public init() {}

        /// A wait for ClickHouse that is no cause for alarm: a restart, a full disk that is cleared, a network that heals.
        static let patience = Duration.seconds(30)

        /// Why the server cannot do its work: somebody must act, or rows have waited for half a minute. A failure that
        /// may pass by itself is none.
        ///
        /// - Parameter oldestWait: How long the oldest block has waited that is not set aside, nil where there is none.
        public func problem(oldestWait: Duration?) -> String? {
            if let operatorError { return "somebody must act: \(operatorError)" }
            guard let oldestWait, oldestWait > Self.patience else { return nil }
            return """
                the oldest batch has waited for \(oldestWait.wholeSeconds) s: \
                \(lastError ?? "ClickHouse has not answered yet")
                """
        }
    }
}
