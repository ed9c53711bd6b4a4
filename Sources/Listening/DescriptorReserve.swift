// SPDX-License-Identifier: Apache-2.0

import Glibc

/// File descriptors that connections leave to the process itself.
///
/// libdispatch, which runs Swift's tasks, looks at the states of its threads about once a second and ends the process where
/// it cannot open their files ("registered worker exited prematurely", `_dispatch_workq_count_runnable_workers` in
/// src/event/workqueue.c). Connections must not be what takes the last ones.
enum DescriptorReserve {
    /// How many they are.
    static let count: rlim_t = 16

    /// Whether fewer are left.
    static var isTouched: Bool {
        // The kernel gives the lowest number that is free.
        let next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
        guard next >= 0 else { return errno == EMFILE || errno == ENFILE }
        close(next)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return rlim_t(next) + count > limit.rlim_cur
    }
}
