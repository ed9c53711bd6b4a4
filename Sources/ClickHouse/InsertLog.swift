// SPDX-License-Identifier: Apache-2.0

import Logging

/// Logs failures and recoveries of inserts for operators. The ``InsertQueue`` decides which are logged.
struct InsertLog: Sendable {
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func report(_ notice: InsertStep.Notice) {
        switch notice {
        case .recovered: logger.notice("ClickHouse accepts inserts again")
        case .failed(let error, let batch, let delay):
            var metadata: Logger.Metadata = ["error": "\(error)", "rows": "\(batch.rows)"]
            if let delay { metadata["next_attempt_in"] = "\(delay)" }
            logger.log(
                level: error.failureClass == .transient ? .warning : .error,
                "cannot insert a batch; the server keeps its rows and retries", metadata: metadata)
        case .split(let error, let batch):
            logger.warning(
                "a proxy rejects a batch as too large; sending it in halves",
                metadata: ["error": "\(error)", "rows": "\(batch.rows)", "bytes": "\(batch.body.bytes.count)"])
        case .possiblyDoubled(let batch):
            var metadata = Self.amount(of: batch)
            metadata["remedy"] = "raise the proxy's limit on request bodies (docs/clickhouse.md)"
            logger.warning(
                "a proxy rejects a batch as too large, also after 15 minutes; sending it in halves: it may be stored twice",
                metadata: metadata)
        case .leftOut(let view, let error):
            logger.warning(
                "a materialized view fails; batches are stored in the table without the view",
                metadata: [
                    "view": "\(view)", "error": "\(error)",
                    "remedy": "repair or drop the view, then add the rows that its target lacks (docs/clickhouse.md)",
                ])
        case .rescued(let batch):
            logger.warning(
                "ClickHouse crashed and kept a batch's token without its rows; sending them again with another token",
                metadata: Self.amount(of: batch))
        case .fenced(let batch):
            logger.notice(
                "another server has taken over a batch that took too long; ClickHouse does not store it, and agents send it again",
                metadata: Self.amount(of: batch))
        case .unverified(let batch, let check, let problem):
            guard check.crash.openSince != nil else {
                logger.warning(
                    "the server cannot check whether another server has taken over a batch; assuming that it is stored",
                    metadata: ["error": "\(problem)", "rows": "\(batch.rows)"])
                return
            }
            logger.warning(
                "ClickHouse has restarted, and the server cannot check whether it stored a batch in flight; assuming that it did",
                metadata: [
                    "error": "\(problem)", "rows": "\(batch.rows)",
                    "remedy": "GRANT SELECT ON system.parts and system.metrics",
                ])
        }
    }

    private static func amount(of batch: InsertBatch) -> Logger.Metadata {
        ["rows": "\(batch.rows)", "reported_bytes": "\(batch.reportedBytes)"]
    }

    /// Logs a rejection.
    ///
    /// - Parameters:
    ///   - batch: The batch.
    ///   - error: Why ClickHouse rejects it.
    ///   - file: The path of its dead letter, or why there is none; nil without a dead-letter directory.
    func reportRejection(of batch: InsertBatch, _ error: ClickHouseError, file: String?) {
        var metadata = Self.amount(of: batch)
        metadata["error"] = "\(error)"
        if let file { metadata["file"] = "\(file)" }
        logger.error("ClickHouse rejects a batch; its rows are counted as lost", metadata: metadata)
    }
}
