// SPDX-License-Identifier: Apache-2.0

import CMalloc
import Operations
import ServiceLifecycle

/// Returns the memory of a peak to the system: blocks and buffers that are kept for reuse, and pages that the allocator keeps
/// free between what is still in use.
///
/// Runs once a minute, whatever the load: what a busy server needs again costs some milliseconds of page faults.
struct MemoryRelease: Service, CustomStringConvertible {
    private static let interval = Duration.seconds(60)

    let description = "memory"

    /// Gives back memory that is kept for reuse.
    let release: @Sendable () -> Void

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                release()
                Self.trim()
            }
        }
    }

    /// Returns the allocator's free pages, and unmaps code that is used seldom.
    static func trim() {
        malloc_trim(0)
        ProgramText.unmap()
    }
}
