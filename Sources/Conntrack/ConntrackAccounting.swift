// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The switch that makes the kernel count: `net.netfilter.nf_conntrack_acct`
/// (Documentation/networking/nf_conntrack-sysctl.rst). It is off by default; entries made before it was turned on
/// never carry counters.
public enum ConntrackAccounting {
    /// The switch of this network namespace.
    public static let path = "/proc/sys/net/netfilter/nf_conntrack_acct"

    /// Whether new entries are counted; nil where the file cannot be read, as when no conntrack is loaded.
    public static var isEnabled: Bool? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var digit: UInt8 = 0
        guard read(file, &digit, 1) == 1 else { return nil }
        return digit != UInt8(ascii: "0")
    }

    /// Turns the switch on for entries to come.
    public static func enable() throws(ConntrackError) {
        let operation = "writing 1 to \(path)"
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw ConntrackError(operation: operation, errno: errno) }
        defer { close(file) }
        guard write(file, "1", 1) == 1 else { throw ConntrackError(operation: operation, errno: errno) }
    }
}
