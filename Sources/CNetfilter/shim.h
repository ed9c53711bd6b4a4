// SPDX-License-Identifier: Apache-2.0
// libmnl for sockets and message headers, libnetfilter_conntrack for the constants of ctnetlink
// (its copy of linux/netfilter/nfnetlink_conntrack.h) and, in tests, for its parser.
#pragma once

#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
