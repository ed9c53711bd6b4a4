// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The settings of conntrack in this network namespace, `net.netfilter.nf_conntrack_…`
/// (Documentation/networking/nf_conntrack-sysctl.rst).
public struct ConntrackSettings: Sendable {
    /// The directory in which the kernel shows the settings.
    private let directory: String

    /// Creates a reader of the settings in a directory.
    public init(directory: String = "/proc/sys/net/netfilter") { self.directory = directory }

    /// Whether the kernel counts the packets of new entries; nil if that cannot be read, as when conntrack is not
    /// loaded. Accounting is off by default, and entries created before it was turned on never carry counters.
    public var isAccountingEnabled: Bool? { read("acct").map { $0 != 0 } }

    /// Which entries send a DESTROY event: 0 for none, 1 for all, 2 for those created while a listener existed. Also 0
    /// on a kernel without `CONFIG_NF_CONNTRACK_EVENTS`, which has accounting but not this setting. Nil if no setting
    /// can be read, as when conntrack is not loaded.
    public var events: Int? { read("events") ?? (isAccountingEnabled == nil ? nil : 0) }

    /// False if accounting can be set but events cannot: the kernel was built without `CONFIG_NF_CONNTRACK_EVENTS`.
    public var canSendEvents: Bool { isAccountingEnabled == nil || read("events") != nil }

    /// The number of entries in the table.
    public var count: Int? { read("count") }

    /// The maximum number of entries; a full table drops new connections.
    public var maximum: Int? { read("max") }

    /// Turns on accounting for new entries.
    public func enableAccounting() throws(ConntrackError) { try turnOn("acct") }

    /// Makes new entries send a DESTROY event, whether or not a listener exists when they are created.
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
