// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// The state of a spool directory and its failures so far.
public struct SpoolStatistics: Equatable, Sendable {
    /// The reason why the directory does not hold the unacknowledged batches, and the remedy; nil if it holds them.
    public var problem: String? = "the spool directory has not been opened yet"
    /// The log's size in bytes.
    public var logBytes = 0
    /// The last time at which everything in the log was known to survive a crash of the node, in seconds since the Unix
    /// epoch.
    public var lastSync = 0.0
    /// The number of failures, by kind.
    public var errors: [SpoolError.Kind: UInt64] = [:]
    /// The number of batches that could not be read, plus that of damaged stretches, each of which may have held any
    /// number of records.
    public var corruptRecords: UInt64 = 0
    /// The number of unusable logs that were set aside.
    public var corruptFiles: UInt64 = 0
    /// The flows and network bytes in corrupt records, as far as they are known.
    var corrupt = FlowAmount()
    /// The flows and network bytes that a predecessor left beyond the limit.
    var excess = FlowAmount()

    /// Makes the statistics of a directory that has not been opened.
    public init() {}
}
