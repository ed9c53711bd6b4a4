// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import Foundation
import Glibc
import Synchronization

/// A network namespace of a test's own, with the loopback interface up and conntrack active and accounting. Timeouts of
/// an hour keep entries from expiring during a test, however slow the machine is.
public enum NetworkNamespace {
    /// Runs `body` on a thread of its own inside a new network namespace, which programs that it starts inherit. The
    /// namespace vanishes with the thread.
    ///
    /// Throws ``TestEnvironmentError`` outside the sandbox, where the tests do not have the necessary privileges.
    public static func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try requireSandbox()
        return try await withCheckedThrowingContinuation { continuation in
            Thread {
                continuation.resume(
                    with: onThreadOfItsOwn {
                        guard kubenetmon_unshare_network() == 0 else {
                            throw TestEnvironmentError("unshare: \(String(cString: strerror(errno)))")
                        }
                        try shell(
                            """
                            ip link set lo up
                            nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
                            nft add rule inet t c ct state new accept
                            sysctl -qw net.netfilter.nf_conntrack_acct=1
                            for timeout in udp_timeout udp_timeout_stream tcp_timeout_time_wait icmp_timeout; do
                                sysctl -qw net.netfilter.nf_conntrack_$timeout=3600
                            done
                            """)
                        return try body()
                    })
            }.start()
        }
    }

    /// Runs `body` on a thread of its own and waits for it.
    ///
    /// The thread in the namespace must not be the one that resumes a task: resuming could start a new thread of the
    /// pool that runs all tasks, and that thread would be in the namespace too.
    private static func onThreadOfItsOwn<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) -> Swift.Result<Result, any Error> {
        let result = Mutex<Swift.Result<Result, any Error>?>(nil)
        let hasEnded = DispatchSemaphore(value: 0)
        Thread {
            let ended = Swift.Result { try body() }
            result.withLock { $0 = ended }
            hasEnded.signal()
        }.start()
        hasEnded.wait()
        return result.withLock { $0 } ?? .failure(TestEnvironmentError("the thread of the namespace did not end"))
    }

    /// Runs a command line of `sh` in the calling thread's namespace and returns its output. Throws if it does not exit
    /// with 0.
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

    /// Throws if the tests do not run under `tools/sandbox`.
    public static func requireSandbox() throws {
        guard ProcessInfo.processInfo.environment["KUBENETMON_SANDBOX"] != nil else {
            throw TestEnvironmentError(
                "this test needs network namespaces: run `make test`, or tools/sandbox swift test")
        }
    }
}
