// SPDX-License-Identifier: Apache-2.0

/// What has become of a reflector's lists and watches so far.
public struct ReflectorStatistics: Equatable, Sendable {
    /// Whether the store holds a whole set of objects; once true it stays so.
    public var isSynced = false
    /// The version that the store stands at; empty before the first list.
    package var resourceVersion = ""
    /// Objects of the last list.
    public var listedObjects = 0
    /// Changes that watches told of.
    public var changes: UInt64 = 0
    /// When the server last told something of the objects: a whole list, an event or a bookmark; nil if it never did. A
    /// healthy watch tells something about once a minute.
    public var lastProgress: ContinuousClock.Instant?
    /// Since when the present watch, which may begin with a list, is open; nil while none is.
    public var watchingSince: ContinuousClock.Instant?
    /// Times that all objects were listed anew after the first.
    public var relists: UInt64 = 0
    /// Watches that were begun after the first.
    public var watchRestarts: UInt64 = 0
    /// Failures by their kind.
    public var failures: [ReflectorFailure: UInt64] = [:]
    /// Objects that could not be read and were passed over.
    public var malformedObjects: UInt64 = 0
    /// Addresses of objects that could not be read and were passed over.
    public var unreadableAddresses: UInt64 = 0
    /// Why the last request failed; nil once the server has told something of the objects since.
    public var lastError: String?

    /// Nothing has been done.
    package init() {}
}
