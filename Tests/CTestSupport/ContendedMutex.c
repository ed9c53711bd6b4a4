// SPDX-License-Identifier: Apache-2.0
//
// With the thread sanitizer only: tells it about `Synchronization.Mutex`. A mutex that nothing else holds is taken and given
// back by instructions in the instrumented code, which the sanitizer sees. A contended one is taken and given back in
// libswiftSynchronization, which is not instrumented: without these functions in front of the library's, each contended
// mutex would be reported as a race. Swift 6.3: stdlib/public/Synchronization/Mutex/LinuxImpl.swift.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

void __tsan_acquire(void *address);
void __tsan_release(void *address);

typedef SWIFT void lock_function(uint32_t, SELF);
typedef SWIFT void unlock_function(SELF);

static void *real(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}

SWIFT void contended_mutex_lock(uint32_t thread, SELF handle) __asm__(LOCK);
SWIFT void contended_mutex_unlock(SELF handle) __asm__(UNLOCK);

SWIFT void contended_mutex_lock(uint32_t thread, SELF handle) {
    ((lock_function *)real(LOCK))(thread, handle);
    __tsan_acquire(handle);
}

SWIFT void contended_mutex_unlock(SELF handle) {
    __tsan_release(handle);
    ((unlock_function *)real(UNLOCK))(handle);
}

#endif
#endif
