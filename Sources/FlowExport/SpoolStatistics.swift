// SPDX-License-Identifier: Apache-2.0

/// What has become of a spool directory so far.
public struct SpoolStatistics: Equatable, Sendable {
    /// Why the directory does not hold what is unacknowledged, and what to do; nil where it does.
    public var problem: String? = "the spool directory has not been opened yet"
    /// Bytes of the log.
    public var logBytes = 0
    /// When everything in the log was last known to survive a crash of the node, in seconds since the Unix epoch.
    public var lastSync = 0.0
    /// Failures by what can mend them.
    public var errors: [SpoolError.Kind: UInt64] = [:]
    /// Batches that could not be read, and damaged stretches that hid any number of records.
    public var corruptRecords: UInt64 = 0
    /// Logs that could not be used at all and were set aside.
    public var corruptFiles: UInt64 = 0
    /// The known part of what corrupt records held.
    public var corrupt = FlowAmount()
    /// What a predecessor left beyond the bound.
    public var excess = FlowAmount()

    /// Statistics of a directory that has not been opened.
    public init() {}
}
