// SPDX-License-Identifier: Apache-2.0

#ifndef CPROBE_H
#define CPROBE_H

#include <stdint.h>

/// How often this thread has asked for memory so far: malloc, calloc, realloc, posix_memalign and aligned_alloc, which
/// this library puts itself in front of.
uint64_t probe_allocations(void);
/// The bytes of memory that the process has asked for and not given back.
uint64_t probe_heap_bytes(void);

/// What has become of pthread_rwlock_t locks since `probe_reset_locks()`, in all threads, in nanoseconds.
struct probe_locks {
    /// The longest CPU time of a thread while it held a lock for writing.
    uint64_t longest_write_cpu;
    /// The longest time that a lock was held for writing, by the clock on the wall.
    uint64_t longest_write_wall;
    /// The longest time that a thread waited for reading, by the clock on the wall.
    uint64_t longest_read_wait_wall;
    /// How often a lock was taken for writing.
    uint64_t writes;
};

void probe_reset_locks(void);
struct probe_locks probe_locks(void);

/// The CPU time of this thread in nanoseconds.
uint64_t probe_thread_cpu(void);
/// The CPU time of this process in nanoseconds.
uint64_t probe_process_cpu(void);

#endif
