// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import Foundation
import Glibc
import Synchronization

/// Files' permissions, which do not apply to tests that run as root.
public enum FilePermissions {
    /// Runs `body` on a thread of its own to which files' permissions apply, and waits for it.
    public static func apply<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result {
        let result = Mutex<Swift.Result<Result, any Error>?>(nil)
        let hasEnded = DispatchSemaphore(value: 0)
        Thread {
            let ended = Swift.Result {
                guard kubenetmon_obey_file_permissions() == 0 else {
                    throw TestEnvironmentError("capset: \(String(cString: strerror(errno)))")
                }
                return try body()
            }
            result.withLock { $0 = ended }
            hasEnded.signal()
        }.start()
        hasEnded.wait()
        guard let result = result.withLock({ $0 }) else { throw TestEnvironmentError("the thread has no result") }
        return try result.get()
    }
}
