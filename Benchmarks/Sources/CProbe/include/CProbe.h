// SPDX-License-Identifier: Apache-2.0

#ifndef CPROBE_H
#define CPROBE_H

#include <stdint.h>

/// Returns the number of this thread's allocations so far, through malloc, calloc, realloc, posix_memalign and
/// aligned_alloc, which this library interposes.
uint64_t probe_allocations(void);
/// Returns the bytes of memory that the process has allocated and not freed.
uint64_t probe_heap_bytes(void);

/// Statistics of all pthread_rwlock_t locks in all threads since `probe_reset_locks()`; times are in nanoseconds.
struct probe_locks {
    /// The longest CPU time of a thread while it held a lock for writing.
    uint64_t longest_write_cpu;
    /// The longest wall-clock time that a lock was held for writing.
    uint64_t longest_write_wall;
    /// The longest wall-clock time that a thread waited to take a lock for reading.
    uint64_t longest_read_wait_wall;
    /// The number of times that a lock was taken for writing.
    uint64_t writes;
};

void probe_reset_locks(void);
struct probe_locks probe_locks(void);

/// Returns the CPU time of this thread in nanoseconds.
uint64_t probe_thread_cpu(void);
/// Returns the CPU time of this process in nanoseconds.
uint64_t probe_process_cpu(void);

#endif
