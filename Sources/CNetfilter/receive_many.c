// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CNetfilter.h"

#include <sys/socket.h>

enum { MAXIMUM_SLOTS = 128 };

int kubenetmon_receive_many(
    int socket, void *buffer, size_t slot_size, unsigned slots, unsigned *lengths, unsigned *senders, int wait) {
    struct mmsghdr messages[MAXIMUM_SLOTS];
    struct iovec parts[MAXIMUM_SLOTS];
    struct sockaddr_nl names[MAXIMUM_SLOTS];
    if (slots > MAXIMUM_SLOTS) slots = MAXIMUM_SLOTS;
    for (unsigned i = 0; i < slots; i++) {
        parts[i] = (struct iovec){.iov_base = (char *)buffer + i * slot_size, .iov_len = slot_size};
        messages[i] = (struct mmsghdr){.msg_hdr = {
            .msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &parts[i], .msg_iovlen = 1}};
    }
    // MSG_TRUNC: the length is the datagram's own, also where it did not fit.
    int received = recvmmsg(socket, messages, slots, MSG_TRUNC | (wait ? MSG_WAITFORONE : MSG_DONTWAIT), NULL);
    for (int i = 0; i < received; i++) {
        lengths[i] = messages[i].msg_len;
        senders[i] = names[i].nl_pid;
    }
    return received;
}
