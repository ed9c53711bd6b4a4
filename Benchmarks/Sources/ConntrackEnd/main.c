// SPDX-License-Identifier: Apache-2.0
//
// conntrack-end FIRST COUNT RATE
//
// Deletes the entries that conntrack-fill has made for the connections from FIRST to below COUNT, RATE entries a
// second, spread over every millisecond. Prints the achieved rate in entries a second.
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 128, REQUEST_BYTES = 128 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/// Writes the request to delete a connection of conntrack-fill, and returns its length.
static size_t make(char *bytes, unsigned connection) {
    struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
    header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
    header->nlmsg_flags = NLM_F_REQUEST;
    struct nfgenmsg *netfilter = mnl_nlmsg_put_extra_header(header, sizeof *netfilter);
    netfilter->nfgen_family = AF_INET;
    struct nlattr *tuple = mnl_attr_nest_start(header, CTA_TUPLE_ORIG);
    struct nlattr *addresses = mnl_attr_nest_start(header, CTA_TUPLE_IP);
    mnl_attr_put_u32(header, CTA_IP_V4_SRC, htonl(0x0a800000u | (connection & 0xffff)));
    mnl_attr_put_u32(header, CTA_IP_V4_DST, htonl(0x0a000001u));
    mnl_attr_nest_end(header, addresses);
    struct nlattr *transport = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(header, CTA_PROTO_NUM, connection & 1 ? IPPROTO_TCP : IPPROTO_UDP);
    mnl_attr_put_u16(header, CTA_PROTO_SRC_PORT, htons((uint16_t)(1024 + (connection >> 16))));
    mnl_attr_put_u16(header, CTA_PROTO_DST_PORT, htons(8080));
    mnl_attr_nest_end(header, transport);
    mnl_attr_nest_end(header, tuple);
    return header->nlmsg_len;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 4) {
        fputs("usage: conntrack-end FIRST COUNT RATE\n", stderr);
        return 2;
    }
    unsigned first = (unsigned)atol(arguments[1]), count = (unsigned)atol(arguments[2]);
    double rate = atof(arguments[3]), begin = now();
    struct mnl_socket *socket = mnl_socket_open(NETLINK_NETFILTER);
    if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        perror("conntrack-end: netlink socket");
        return 1;
    }
    unsigned connection = first;
    while (connection < count) {
        double due = (double)first + (now() - begin) * rate;
        static char requests[BATCH * REQUEST_BYTES];
        size_t length = 0;
        for (int ready = 0; ready < BATCH && connection < count && connection < due; ready++, connection++)
            length += make(requests + length, connection);
        if (length == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        } else if (mnl_socket_sendto(socket, requests, length) < 0) {
            perror("conntrack-end: send");
            return 1;
        }
    }
    printf("%.0f\n", (count - first) / (now() - begin));
    char answer[MNL_SOCKET_BUFFER_SIZE];
    if (recv(mnl_socket_get_fd(socket), answer, sizeof answer, MSG_DONTWAIT) > 0) {
        fputs("conntrack-end: the kernel refused to delete some entries\n", stderr);
        return 1;
    }
    return 0;
}
