// SPDX-License-Identifier: Apache-2.0
//
// The kernel's numbers and structures of rtnetlink(7).
#pragma once

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
