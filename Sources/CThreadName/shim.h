// SPDX-License-Identifier: Apache-2.0
//
// prctl(2) takes variable arguments, which Swift cannot pass.
#include <sys/prctl.h>

/// Gives the calling thread a name, of which the kernel keeps 15 bytes.
static inline int kubenetmon_set_thread_name(const char *name) {
    return prctl(PR_SET_NAME, name, 0, 0, 0);
}
