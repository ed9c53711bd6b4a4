// SPDX-License-Identifier: Apache-2.0

/// The statistics of a reflector's lists and watches so far.
public struct ReflectorStatistics: Equatable, Sendable {
    /// Whether the store holds a complete set of objects; once true it stays so.
    public var isSynced = false
    /// The version of the store's objects; empty before the first list.
    package var resourceVersion = ""
    /// Objects in the last list.
    public var listedObjects = 0
    /// Changes reported by watches.
    public var changes: UInt64 = 0
    /// The time at which the server last sent something about the objects: a whole list, an event or a bookmark; nil if
    /// it never has. A healthy watch sends something about once a minute.
    public var lastProgress: ContinuousClock.Instant?
    /// The time at which the present watch, which may begin with a list, was opened; nil without one.
    public var watchingSince: ContinuousClock.Instant?
    /// Lists of all objects after the first.
    public var relists: UInt64 = 0
    /// Watches begun after the first.
    public var watchRestarts: UInt64 = 0
    /// Failures by kind.
    public var failures: [ReflectorFailure: UInt64] = [:]
    /// Objects that could not be read and were skipped.
    public var malformedObjects: UInt64 = 0
    /// Addresses of objects that could not be read and were skipped.
    public var unreadableAddresses: UInt64 = 0
    /// The reason for the last request's failure; nil once the server has sent something about the objects since.
    public var lastError: String?

    /// Makes the statistics of a reflector that has not run yet.
    package init() {}
}
