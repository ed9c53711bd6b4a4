// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Threads, such as those of event loops, that a test keeps from doing anything.
public enum BlockedThreads {
    /// Runs a function on one thread.
    public typealias Execute = @Sendable (_ function: @escaping @Sendable () -> Void) -> Void

    /// Blocks every thread while `body` runs.
    public static func during(_ threads: [Execute], _ body: () async -> Void) async {
        let (blocked, report) = AsyncStream.makeStream(of: Void.self)
        let release = DispatchSemaphore(value: 0)
        for execute in threads {
            execute {
                report.yield()
                release.wait()
            }
        }
        var reports = blocked.makeAsyncIterator()
        for _ in threads { await reports.next() }
        await body()
        for _ in threads { release.signal() }
    }
}

extension ChildProcess {
    /// Returns the status of the HTTP response for a URL; `000` if none comes within a minute.
    public static func httpStatus(of url: String) async -> String? {
        try? await shell("curl -s -o /dev/null -w '%{http_code}' --max-time 60 '\(url)' || :")
    }
}
