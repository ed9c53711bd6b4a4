// SPDX-License-Identifier: Apache-2.0
// libmnl for sockets, libnetfilter_conntrack for its filters of events, its copy of ctnetlink's constants and, in tests,
// its parser; and the one system call that Swift cannot see.
#pragma once

#include <stddef.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>

/// Receives up to `slots` datagrams at once (recvmmsg(2)), each into its own `slot_size` bytes of `buffer`.
///
/// Waits for the first, as long as the socket's receive timeout allows, where `wait` is not 0. `lengths` gets each
/// datagram's length; one above `slot_size` says that the datagram was cut. `senders` gets each sender's netlink port, 0
/// for the kernel. Returns their number, or -1 and `errno`.
int kubenetmon_receive_many(
    int socket, void *buffer, size_t slot_size, unsigned slots, unsigned *lengths, unsigned *senders, int wait);

/// The request of ioctl(2) that opens the network namespace of a socket; a number that Swift does not see.
enum { KUBENETMON_SIOCGSKNS = SIOCGSKNS };
