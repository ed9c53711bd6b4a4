// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import Foundation
import Glibc

/// A network namespace of a test's own, with the loopback up, conntrack active and counting.
public enum NetworkNamespace {
    /// Runs `body` on a thread of its own inside a fresh network namespace; programs that it starts are inside too. The
    /// namespace vanishes with the thread.
    ///
    /// Throws ``TestEnvironmentError`` outside the sandbox: there it would take rights that the tests do not have.
    public static func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try requireSandbox()
        return try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(
                    with: Swift.Result {
                        guard kubenetmon_unshare_network() == 0 else {
                            throw TestEnvironmentError("unshare: \(String(cString: strerror(errno)))")
                        }
                        try shell(
                            """
                            ip link set lo up
                            nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
                            nft add rule inet t c ct state new accept
                            sysctl -qw net.netfilter.nf_conntrack_acct=1
                            """)
                        return try body()
                    })
            }.start()
        }
    }

    /// Runs a command line of `sh` in the calling thread's namespace and returns its output. Throws where it does not
    /// exit with 0.
    @discardableResult
    public static func shell(_ command: String) throws -> String {
        guard let pipe = popen("exec 2>&1; set -eu\n\(command)", "r") else {
            throw TestEnvironmentError("popen: \(String(cString: strerror(errno)))")
        }
        var output: [UInt8] = []
        while true {
            let byte = fgetc(pipe)
            guard byte != EOF else { break }
            output.append(UInt8(byte))
        }
        let status = pclose(pipe)
        let text = String(decoding: output, as: UTF8.self)
        guard status == 0 else { throw TestEnvironmentError("'\(command)' failed with \(status >> 8): \(text)") }
        return text
    }

    /// Throws where the tests do not run under `tools/sandbox`.
    public static func requireSandbox() throws {
        guard ProcessInfo.processInfo.environment["KUBENETMON_SANDBOX"] != nil else {
            throw TestEnvironmentError(
                "this test needs network namespaces: run `make test`, or tools/sandbox swift test")
        }
    }
}
