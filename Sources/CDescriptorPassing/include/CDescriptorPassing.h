// SPDX-License-Identifier: Apache-2.0
// Descriptors and credentials over Unix sockets (unix(7)): the macros of cmsg(3) and struct ucred, which Swift cannot see.
#pragma once

#include <stddef.h>
#include <sys/types.h>

enum {
    /// The most descriptors of one message.
    KUBENETMON_MAXIMUM_DESCRIPTORS = 2
};

/// Sends one message with up to KUBENETMON_MAXIMUM_DESCRIPTORS descriptors, without waiting and without SIGPIPE.
///
/// Returns 0, or -1 and `errno`.
int kubenetmon_send_with_descriptors(
    int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count);

/// Receives one message without waiting, and the descriptors that came with it, each closed on exec.
///
/// `descriptors` has room for KUBENETMON_MAXIMUM_DESCRIPTORS and `descriptor_count` gets their number; the caller closes
/// them. Any beyond that number are closed here or were never installed by the kernel; `is_cut` is then not 0, as it is
/// where the message was longer than `count`. Returns the number of bytes, 0 at the end of the connection, or -1 and
/// `errno`.
ssize_t kubenetmon_receive_with_descriptors(
    int socket, void *bytes, size_t count, int *descriptors, size_t *descriptor_count, int *is_cut);

/// Tells who is at the other end of a connected Unix socket: SO_PEERCRED. A process that this PID namespace does not show
/// has the number 0.
///
/// Returns 0, or -1 and `errno`.
int kubenetmon_peer_credentials(int socket, pid_t *process, uid_t *user);
