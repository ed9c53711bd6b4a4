// SPDX-License-Identifier: Apache-2.0
//
// glibc's settings of its allocator (mallopt(3)), which Swift's module Glibc leaves out.
#include <malloc.h>
