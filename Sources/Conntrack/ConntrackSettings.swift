// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The settings of conntrack in this network namespace, `net.netfilter.nf_conntrack_…`
/// (Documentation/networking/nf_conntrack-sysctl.rst).
public struct ConntrackSettings: Sendable {
    /// Where the kernel shows them.
    private let directory: String

    /// Makes a reader of the settings in a directory.
    public init(directory: String = "/proc/sys/net/netfilter") { self.directory = directory }

    /// Whether new entries are counted. Off by default; entries made before it was turned on never carry counters. Nil
    /// where it cannot be read, as when conntrack is not loaded.
    public var isAccountingEnabled: Bool? { read("acct").map { $0 != 0 } }

    /// Which entries send a DESTROY event: 0 none, 1 all, 2 those that were made while a listener existed. 0 also on a
    /// kernel without `CONFIG_NF_CONNTRACK_EVENTS`, which has accounting and no such setting. Nil where no setting can be
    /// read, as when conntrack is not loaded.
    public var events: Int? { read("events") ?? (isAccountingEnabled == nil ? nil : 0) }

    /// False where accounting can be set and events cannot: the kernel was built without `CONFIG_NF_CONNTRACK_EVENTS`.
    public var canSendEvents: Bool { isAccountingEnabled == nil || read("events") != nil }

    /// Entries that there are.
    public var count: Int? { read("count") }

    /// Entries that there may be at most; a full table drops new connections.
    public var maximum: Int? { read("max") }

    /// Turns counting on for entries to come.
    public func enableAccounting() throws(ConntrackError) { try turnOn("acct") }

    /// Makes entries to come send a DESTROY event, whether or not a listener exists when they are made.
    public func enableEvents() throws(ConntrackError) { try turnOn("events") }

    private func path(of name: String) -> String { "\(directory)/nf_conntrack_\(name)" }

    private func turnOn(_ name: String) throws(ConntrackError) {
        let path = path(of: name)
        let operation = "writing 1 to \(path)"
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw ConntrackError(operation: operation, errno: errno) }
        defer { close(file) }
        guard write(file, "1", 1) == 1 else { throw ConntrackError(operation: operation, errno: errno) }
    }

    private func read(_ name: String) -> Int? {
        let file = open(path(of: name), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { buffer in
            let length = Glibc.read(file, buffer.baseAddress, buffer.count)
            guard length > 0 else { return nil }
            return Int(String(decoding: buffer[..<length].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        }
    }
}
