// SPDX-License-Identifier: Apache-2.0
//
// conntrack-fill FIRST COUNT STEP
//
// Sends one packet for each of the connections FIRST, FIRST + STEP, … below COUNT, which creates its conntrack entry or
// raises the counters of an existing one above zero. Even connections are UDP, odd ones TCP in its handshake, so that
// the kernel's messages about them differ in size. The packets go to 10.0.0.1, which must be routed to a device that
// drops them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 256 };

struct packet {
    struct iphdr ip;
    union {
        struct tcphdr tcp;
        struct udphdr udp;
    };
};

static void make(struct packet *packet, unsigned connection) {
    int is_tcp = connection & 1;
    size_t length = sizeof packet->ip + (is_tcp ? sizeof packet->tcp : sizeof packet->udp);
    memset(packet, 0, sizeof *packet);
    packet->ip = (struct iphdr){.version = 4,
                                .ihl = 5,
                                .ttl = 64,
                                .tot_len = htons((uint16_t)length),
                                .protocol = is_tcp ? IPPROTO_TCP : IPPROTO_UDP,
                                .saddr = htonl(0x0a800000u | (connection & 0xffff)),
                                .daddr = htonl(0x0a000001u)};
    uint16_t source = htons((uint16_t)(1024 + (connection >> 16))), destination = htons(8080);
    if (is_tcp)
        packet->tcp = (struct tcphdr){.source = source, .dest = destination, .doff = 5, .syn = 1, .window = 1024};
    else
        packet->udp = (struct udphdr){.source = source, .dest = destination, .len = htons(sizeof packet->udp)};
}

int main(int argument_count, char **arguments) {
    if (argument_count != 4) {
        fputs("usage: conntrack-fill FIRST COUNT STEP\n", stderr);
        return 2;
    }
    unsigned first = (unsigned)atol(arguments[1]), count = (unsigned)atol(arguments[2]),
             step = (unsigned)atol(arguments[3]);
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), size = 1 << 22;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    static struct packet packets[BATCH];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001u)};
    unsigned connection = first;
    while (connection < count) {
        int ready = 0;
        for (; ready < BATCH && connection < count; ready++, connection += step) {
            make(&packets[ready], connection);
            parts[ready] = (struct iovec){&packets[ready], ntohs(packets[ready].ip.tot_len)};
            messages[ready].msg_hdr = (struct msghdr){
                .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[ready], .msg_iovlen = 1};
        }
        for (int done = 0; done < ready;) {
            int sent = sendmmsg(fd, messages + done, (unsigned)(ready - done), 0);
            if (sent < 0) {
                perror("conntrack-fill: sendmmsg");
                return 1;
            }
            done += sent;
        }
    }
    return 0;
}
