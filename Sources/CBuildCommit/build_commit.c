// SPDX-License-Identifier: Apache-2.0

#include "build_commit.h"

#ifndef KUBENETMON_COMMIT
#define KUBENETMON_COMMIT ""
#endif

const char *const kubenetmon_build_commit = KUBENETMON_COMMIT;
