// SPDX-License-Identifier: Apache-2.0
// What mirrors of the clouds' lists compress with.
#pragma once

#include <zlib.h>
