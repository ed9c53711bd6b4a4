// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "CProbe.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#define THREAD static __thread __attribute__((tls_model("initial-exec")))

// Memory

THREAD uint64_t allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size) {
    allocations++;
    return __libc_realloc(pointer, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    allocations++;
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : ENOMEM;
}

uint64_t probe_allocations(void) { return allocations; }

uint64_t probe_heap_bytes(void) {
    struct mallinfo2 information = mallinfo2();
    return information.uordblks + information.hblkhd;
}

// Time

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t probe_thread_cpu(void) { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }
uint64_t probe_process_cpu(void) { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID); }

// Locks

static _Atomic uint64_t longest_write_cpu, longest_write_wall, longest_read_wait_wall, writes;

THREAD pthread_rwlock_t *written;
THREAD uint64_t write_cpu_start, write_wall_start;

static int (*real_rdlock)(pthread_rwlock_t *), (*real_wrlock)(pthread_rwlock_t *), (*real_unlock)(pthread_rwlock_t *);

static void raise_to(_Atomic uint64_t *maximum, uint64_t value) {
    uint64_t seen = atomic_load_explicit(maximum, memory_order_relaxed);
    while (seen < value && !atomic_compare_exchange_weak(maximum, &seen, value)) {}
}

__attribute__((constructor)) static void find_real_locks(void) {
    real_rdlock = dlsym(RTLD_NEXT, "pthread_rwlock_rdlock");
    real_wrlock = dlsym(RTLD_NEXT, "pthread_rwlock_wrlock");
    real_unlock = dlsym(RTLD_NEXT, "pthread_rwlock_unlock");
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock) {
    if (!real_rdlock) find_real_locks();
    uint64_t start = nanoseconds(CLOCK_MONOTONIC);
    int result = real_rdlock(lock);
    raise_to(&longest_read_wait_wall, nanoseconds(CLOCK_MONOTONIC) - start);
    return result;
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock) {
    if (!real_wrlock) find_real_locks();
    int result = real_wrlock(lock);
    written = lock;
    write_wall_start = nanoseconds(CLOCK_MONOTONIC);
    write_cpu_start = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    return result;
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock) {
    if (!real_unlock) find_real_locks();
    if (written == lock) {
        written = NULL;
        raise_to(&longest_write_cpu, nanoseconds(CLOCK_THREAD_CPUTIME_ID) - write_cpu_start);
        raise_to(&longest_write_wall, nanoseconds(CLOCK_MONOTONIC) - write_wall_start);
        atomic_fetch_add(&writes, 1);
    }
    return real_unlock(lock);
}

void probe_reset_locks(void) {
    atomic_store(&longest_write_cpu, 0);
    atomic_store(&longest_write_wall, 0);
    atomic_store(&longest_read_wait_wall, 0);
    atomic_store(&writes, 0);
}

struct probe_locks probe_locks(void) {
    return (struct probe_locks){
        .longest_write_cpu = atomic_load(&longest_write_cpu),
        .longest_write_wall = atomic_load(&longest_write_wall),
        .longest_read_wait_wall = atomic_load(&longest_read_wait_wall),
        .writes = atomic_load(&writes),
    };
}
