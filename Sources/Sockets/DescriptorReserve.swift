// SPDX-License-Identifier: Apache-2.0

import Glibc

/// File descriptors that are kept for the process itself, and not used for connections.
///
/// libdispatch, which runs Swift's tasks, reads the states of its threads from files about once a second, and ends the
/// process if it cannot open them ("registered worker exited prematurely", `_dispatch_workq_count_runnable_workers` in
/// src/event/workqueue.c). Connections must therefore leave it some descriptors.
enum DescriptorReserve {
    /// The number of descriptors kept.
    static let count: rlim_t = 16

    /// Whether fewer than ``count`` descriptors are free.
    static var isTouched: Bool {
        // The kernel returns the lowest free number.
        let next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)
        guard next >= 0 else { return errno == EMFILE || errno == ENFILE }
        close(next)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return rlim_t(next) + count > limit.rlim_cur
    }
}
