// SPDX-License-Identifier: Apache-2.0

import FlowModel

extension Inserter {
    /// What has become of the blocks so far.
    public struct Statistics: Equatable, Sendable {
        /// Batches, their flows and rows and the network bytes that the rows report.
        public struct Amount: Equatable, Sendable {
            /// Batches.
            public var blocks: UInt64 = 0
            /// Flows that the rows are made of.
            public var flows: UInt64 = 0
            /// Their rows.
            public var rows: UInt64 = 0
            /// The network bytes that the rows report.
            public var reportedBytes: UInt64 = 0

            /// Nothing.
            public init() {}

            /// Makes an amount of its parts.
            public init(blocks: UInt64, flows: UInt64, rows: UInt64, reportedBytes: UInt64) {
                self.blocks = blocks
                self.flows = flows
                self.rows = rows
                self.reportedBytes = reportedBytes
            }

            mutating func add(_ batch: InsertBatch) {
                blocks += 1
                flows += UInt64(batch.flows)
                rows += UInt64(batch.rows)
                reportedBytes &+= batch.reportedBytes
            }
        }

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

        /// What ClickHouse has.
        public var inserted = Amount()
        /// What of that was stored although a materialized view failed: the view may lack it.
        public var withoutViews = Amount()
        /// Batches that were split although an earlier attempt may have stored them whole.
        public var possiblyDoubled = Amount()
        /// What ClickHouse does not take, by reason: counted as lost.
        public var quarantined: [String: Amount] = [:]
        /// Attempts that failed, by ``ClickHouseError/reason``.
        public var failedAttempts: [String: UInt64] = [:]
        /// Attempts that failed, by what can mend it.
        public var failedAttemptsByClass: [FailureClass: UInt64] = [:]
        /// Batches that were sent under another token because ClickHouse had ended and kept their token without their rows.
        public var rescuedBatches: UInt64 = 0
        /// Flows of blocks that wait or are under way and are not counted above: at any moment, all that was submitted is in
        /// one of the three.
        public var pendingFlows: UInt64 = 0
        /// Network bytes that those flows report.
        public var pendingBytes: UInt64 = 0
        /// Blocks that wait or are under way.
        public var queuedBlocks = 0
        /// Their rows.
        public var queuedRows = 0
        /// The memory that they take, in bytes.
        public var queuedBytes = 0
        /// Memory of blocks that are being filled, in bytes.
        public var gatheringBytes = 0
        /// The bound on both together.
        public var maximumQueuedBytes = 0
        /// How long that bound has been passed, with the time until half of the memory was free again.
        public var pressureTime = Duration.zero
        /// How long ago the oldest of them was begun, nil where there is none.
        public var oldestAge: Duration?
        /// How long ago the one of them that has waited for longest was submitted, nil where there is none. Those that
        /// were set aside do not count.
        public var oldestWait: Duration?
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
        public var problem: String? {
            if let operatorError { return "somebody must act: \(operatorError)" }
            guard let oldestWait, oldestWait > Self.patience else { return nil }
            return """
                the oldest batch has waited for \(oldestWait.wholeSeconds) s: \
                \(lastError ?? "ClickHouse has not answered yet")
                """
        }
    }
}
