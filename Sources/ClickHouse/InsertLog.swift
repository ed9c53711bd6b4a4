// SPDX-License-Identifier: Apache-2.0

import Logging

/// Logs failures and recoveries of inserts for operators. The ``InsertQueue`` decides which are logged.
struct InsertLog: Sendable {
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    func report(_ notice: InsertStep.Notice) {
        switch notice {
        case .recovered: logger.notice("ClickHouse takes rows again")
        case .failed(let error, let batch, let delay):
            var metadata: Logger.Metadata = ["error": "\(error)", "rows": "\(batch.rows)"]
            if let delay { metadata["next_attempt_in"] = "\(delay)" }
            logger.log(
                level: error.failureClass == .transient ? .warning : .error,
                "an insert failed; its rows are kept and it is tried again", metadata: metadata)
        case .split(let error, let batch):
            logger.warning(
                "a batch is refused for its size and sent in halves",
                metadata: ["error": "\(error)", "rows": "\(batch.rows)", "bytes": "\(batch.body.bytes.count)"])
        case .possiblyDoubled(let batch):
            logger.warning(
                "a batch that may be stored already is split and may be stored twice: a proxy still refuses its size",
                metadata: Self.amount(of: batch))
        case .leftOut(let view, let error):
            logger.warning(
                "a materialized view fails; batches are stored in the table without it",
                metadata: [
                    "view": "\(view)", "error": "\(error)",
                    "remedy": "mend or drop the view, then fill in what it lacks",
                ])
        case .rescued(let batch):
            logger.warning(
                "ClickHouse has ended and kept a batch's token without its rows; they are sent under another token",
                metadata: Self.amount(of: batch))
        case .unverified(let batch, let problem):
            logger.warning(
                "ClickHouse has restarted, and the server cannot check that a batch in flight was stored; it counts as stored",
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
        logger.error("ClickHouse does not take a batch; its rows are counted as lost", metadata: metadata)
    }
}
