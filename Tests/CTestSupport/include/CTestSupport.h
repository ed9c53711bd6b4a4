// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Puts the calling thread into a network namespace of its own (unshare(2)); 0, or -1 and `errno`.
int kubenetmon_unshare_network(void);

/// Makes the kernel look to the calling thread, and to those that it starts, as one without IPv6: no socket can be made
/// (seccomp(2)). 0, or -1 and `errno`.
int kubenetmon_forbid_ipv6(void);
