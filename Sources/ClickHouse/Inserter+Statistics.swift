// SPDX-License-Identifier: Apache-2.0

public import FlowBlocks
public import FlowModel

extension Inserter {
    /// Statistics of inserts. The outcomes of blocks are in the sink's account.
    public struct Statistics: Equatable, Sendable {
        /// Statistics of one endpoint.
        public struct Endpoint: Equatable, Sendable {
            /// The endpoint's URL.
            public var url: String
            /// Inserts sent to the endpoint.
            public var attempts: UInt64 = 0
            /// Inserts that failed.
            public var failures: UInt64 = 0
            /// Why the last one failed, nil after a success.
            public var lastError: String?

            /// Makes the statistics of an endpoint without inserts.
            public init(url: String) { self.url = url }
        }

        /// Batches stored although a materialized view failed; the view may lack them.
        public var withoutViews = BlockAmount()
        /// Batches that were split although an earlier attempt may have stored them whole.
        public var possiblyDoubled = BlockAmount()
        /// Failed attempts, by ``ClickHouseError/reason``.
        public var failedAttempts: [String: UInt64] = [:]
        /// Failed attempts, by ``FailureClass``.
        public var failedAttemptsByClass: [FailureClass: UInt64] = [:]
        /// Batches sent with another token because ClickHouse was killed and kept their token without their rows.
        public var rescuedBatches: UInt64 = 0
        /// Blocks that another server fenced, so that ClickHouse dropped them; agents send their batches again.
        public var voidBlocks: UInt64 = 0
        /// Why the last attempt failed, nil after a success.
        public var lastError: String?
        /// The class of the last failure, nil after a success.
        public var lastFailureClass: FailureClass?
        /// The error because of which no endpoint accepts rows until an operator fixes it; nil if there is none.
        var operatorError: String?
        /// Statistics of each endpoint, in the configuration's order.
        public var endpoints: [Endpoint] = []
        /// Durations of successful attempts.
        public var successfulAttemptDuration = Histogram(bounds: Histogram.milliseconds)
        /// Durations of failed attempts.
        public var failedAttemptDuration = Histogram(bounds: Histogram.milliseconds)
        /// Ages of batches when they were stored, since their blocks were begun.
        public var batchAge = Histogram(bounds: Histogram.milliseconds)
        /// Numbers of rows of inserts.
        public var batchRows = Histogram(bounds: Histogram.rows)

        /// Makes statistics of no inserts.
        public init() {}

        /// The wait for ClickHouse up to which no problem is reported: a restart, a full disk that is cleared, a
        /// network that recovers.
        static let patience = Duration.seconds(30)

        /// Returns the problem that stops the server: a failure that needs an operator, or rows that have waited for
        /// more than 30 s. Shorter failures that may pass by themselves are not reported.
        ///
        /// - Parameter oldestWait: The wait of the oldest block that is not set aside; nil if there is none.
        public func problem(oldestWait: Duration?) -> String? {
            if let operatorError { return "ClickHouse needs operator action: \(operatorError)" }
            guard let oldestWait, oldestWait > Self.patience else { return nil }
            return """
                the oldest batch has waited for \(oldestWait.wholeSeconds) s: \
                \(lastError ?? "ClickHouse has not answered yet")
                """
        }
    }
}

extension Histogram {
    /// Bounds for durations in milliseconds.
    fileprivate static let milliseconds: [UInt64] = [
        5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 600_000,
    ]
    /// Bounds for the rows of an insert.
    fileprivate static let rows: [UInt64] = [
        1, 10, 100, 1_000, 2_500, 5_000, 10_000, 15_000, 25_000, 50_000, 100_000,
    ]
}
