// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CTestSupport.h"

#include <sched.h>

int kubenetmon_unshare_network(void) { return unshare(CLONE_NEWNET); }
