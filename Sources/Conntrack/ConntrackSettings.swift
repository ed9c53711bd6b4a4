// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The settings of conntrack in this network namespace, `net.netfilter.nf_conntrack_…`
/// (Documentation/networking/nf_conntrack-sysctl.rst).
public enum ConntrackSettings {
    /// Where the kernel shows them.
    private static let directory = "/proc/sys/net/netfilter/nf_conntrack_"

    /// Whether new entries are counted. Off by default; entries made before it was turned on never carry counters. Nil
    /// where it cannot be read, as when conntrack is not loaded.
    public static var isAccountingEnabled: Bool? { read("acct").map { $0 != 0 } }

    /// Whether entries tell of their end: 0 never, 1 always, 2 if somebody listened when they were made.
    public static var events: Int? { read("events") }

    /// Entries that there are.
    public static var count: Int? { read("count") }

    /// Entries that there may be at most; a full table drops new connections.
    public static var maximum: Int? { read("max") }

    /// Turns counting on for entries to come.
    public static func enableAccounting() throws(ConntrackError) { try turnOn("acct") }

    /// Lets entries to come tell of their end, whether somebody listens when they are made or not.
    public static func enableEvents() throws(ConntrackError) { try turnOn("events") }

    private static func turnOn(_ name: String) throws(ConntrackError) {
        let operation = "writing 1 to \(directory)\(name)"
        let file = open(directory + name, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw ConntrackError(operation: operation, errno: errno) }
        defer { close(file) }
        guard write(file, "1", 1) == 1 else { throw ConntrackError(operation: operation, errno: errno) }
    }

    private static func read(_ name: String) -> Int? {
        let file = open(directory + name, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { buffer in
            let length = Glibc.read(file, buffer.baseAddress, buffer.count)
            guard length > 0 else { return nil }
            return Int(String(decoding: buffer[..<length].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        }
    }
}
