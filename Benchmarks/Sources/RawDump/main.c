// SPDX-License-Identifier: Apache-2.0
//
// raw-dump RUNS
//
// Measures the minimum cost of a collection: requests a dump of the conntrack table that leaves the counters unchanged,
// and receives it in 32 KiB pieces without decoding the entries. Prints "CPU_SECONDS ENTRIES" for each run.
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

int main(int argument_count, char **arguments) {
    static char buffer[32 * 1024];
    struct mnl_socket *socket = mnl_socket_open(NETLINK_NETFILTER);
    if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        perror("raw-dump: netlink socket");
        return 1;
    }
    for (int run = argument_count > 1 ? atoi(arguments[1]) : 1; run > 0; run--) {
        double begin = cpu_seconds();
        char request[64];
        struct nlmsghdr *header = mnl_nlmsg_put_header(request);
        header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
        header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        mnl_nlmsg_put_extra_header(header, sizeof(struct nfgenmsg));
        if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) {
            perror("raw-dump: send");
            return 1;
        }
        long entries = 0;
        for (int done = 0; !done;) {
            ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
            if (length < 0) {
                perror("raw-dump: receive");
                return 1;
            }
            int rest = (int)length;
            for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; mnl_nlmsg_ok(message, rest);
                 message = mnl_nlmsg_next(message, &rest)) {
                if (message->nlmsg_type == NLMSG_DONE) done = 1;
                else if (message->nlmsg_type == NLMSG_ERROR) return 1;
                else entries++;
            }
        }
        printf("%.6f %ld\n", cpu_seconds() - begin, entries);
    }
    return 0;
}
