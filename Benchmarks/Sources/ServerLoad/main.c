// SPDX-License-Identifier: Apache-2.0
//
// ServerLoad inventory
// ServerLoad send PORT CONNECTIONS [BATCHES_UNDER_WAY]
// ServerLoad fleet PORT AGENTS SOURCES
// ServerLoad reference THREADS
//
// `inventory` prints a cluster for the server; `fleet` and `reference` are described in fleet.h and reference.h. `send`:
//
// Runs one agent per connection to a kubenetmon-server, in one thread. Prints READY when all are connected. For each
// line with a number on standard input, every agent sends that many batches, by default at most four of them
// unacknowledged, so that no block of the server holds a batch's flows twice, which would compress too well. When all
// are acknowledged, it prints
//
//     OBSERVATIONS REPORTED_BYTES WIRE_BYTES SECONDS
//
// where SECONDS is the time until nine tenths are acknowledged: the server's last blocks do not fill and wait for their
// age. It ends with the input, or with an error if a send takes longer than ten minutes.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "cluster.h"
#include "fleet.h"
#include "reference.h"

enum { BODIES = 4, DEADLINE_SECONDS = 600, INPUT_CAPACITY = 1 << 16 };

struct agent {
    int fd;
    unsigned node;
    uint64_t sequence;
    unsigned batches_left, batches_under_way;
    int is_writable;
    // The frame being sent.
    uint8_t head[HEAD_CAPACITY];
    size_t head_length, sent;
    const struct body *body;
    // The received part of the next acknowledgement.
    uint8_t *input;
    size_t input_length;
};

struct totals {
    uint64_t sent, acknowledged, reported_bytes, wire_bytes;
};

static struct body bodies[NODES][BODIES];
/// The maximum number of an agent's unacknowledged batches.
static unsigned most_under_way = 4;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("ServerLoad: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void greet(struct agent *agent, uint16_t port, unsigned number) {
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint8_t hello[256];
    agent->fd = socket(AF_INET, SOCK_STREAM, 0);
    agent->node = number % NODES;
    agent->is_writable = 1;
    size_t length = write_hello(hello, agent->node, number);
    if (agent->fd < 0 || connect(agent->fd, (struct sockaddr *)&server, sizeof server) ||
        write(agent->fd, hello, length) != (ssize_t)length)
        die("connection %u: %s", number, strerror(errno));
}

/// Sends until the socket is full or nothing is left.
static void send_batches(struct agent *agent, struct totals *totals) {
    while (agent->is_writable) {
        if (!agent->body) {
            if (agent->batches_left == 0 || agent->batches_under_way == most_under_way) return;
            agent->batches_under_way++;
            agent->body = &bodies[agent->node][agent->batches_left % BODIES];
            agent->batches_left--;
            agent->head_length = write_head(agent->head, agent->body, ++agent->sequence,
                                            (uint64_t)(seconds(CLOCK_REALTIME) * 1000));
            agent->sent = 0;
            totals->sent++;
            totals->reported_bytes += agent->body->reported_bytes;
            totals->wire_bytes += agent->head_length + agent->body->length;
        }
        size_t of_head = agent->sent < agent->head_length ? agent->sent : agent->head_length,
               of_body = agent->sent - of_head;
        struct iovec parts[] = {{agent->head + of_head, agent->head_length - of_head},
                                {agent->body->bytes + of_body, agent->body->length - of_body}};
        ssize_t written = sendmsg(agent->fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = 2},
                                  MSG_DONTWAIT | MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN) die("a connection is lost: %s", strerror(errno));
        if (written < 0) {
            agent->is_writable = 0;
        } else {
            agent->sent += (size_t)written;
            if (agent->sent == agent->head_length + agent->body->length) agent->body = NULL;
        }
    }
}

/// Returns how many sequence numbers are in a ServerMessage, in which all lengths and numbers are varints.
static unsigned count_acknowledged(const uint8_t *message, size_t length) {
    if (length > 0 && message[0] != (1 << 3 | 2)) die("the server says something other than Ack");
    // Four of the varints are the keys and lengths of Ack and of its one field; an empty Ack has no field.
    unsigned varints = 0;
    for (size_t at = 0; at < length; at++) varints += message[at] < 0x80;
    return varints > 4 ? varints - 4 : 0;
}

/// Reads the acknowledgements that have arrived; returns false if there was nothing to read.
static int read_acknowledgements(struct agent *agent, struct totals *totals) {
    ssize_t received = recv(agent->fd, agent->input + agent->input_length, INPUT_CAPACITY - agent->input_length,
                            MSG_DONTWAIT);
    if (received == 0) die("the server has closed a connection");
    if (received < 0 && errno != EAGAIN) die("a connection is lost: %s", strerror(errno));
    if (received < 0) return 0;
    agent->input_length += (size_t)received;
    size_t at = 0;
    for (;;) {
        uint32_t length;
        if (agent->input_length - at < sizeof length) break;
        memcpy(&length, agent->input + at, sizeof length);
        length = ntohl(length);
        if (length > INPUT_CAPACITY - sizeof length) die("an acknowledgement of %u bytes is too long", length);
        if (agent->input_length - at - sizeof length < length) break;
        unsigned acknowledged = count_acknowledged(agent->input + at + sizeof length, length);
        totals->acknowledged += acknowledged;
        agent->batches_under_way -= acknowledged;
        at += sizeof length + length;
    }
    agent->input_length -= at;
    memmove(agent->input, agent->input + at, agent->input_length);
    return 1;
}

static void send_all(struct agent *agents, unsigned count, unsigned batches, int poller) {
    struct totals totals = {0};
    double begin = seconds(CLOCK_MONOTONIC), duration = 0;
    for (unsigned number = 0; number < count; number++) agents[number].batches_left = batches;
    for (unsigned number = 0; number < count; number++) send_batches(&agents[number], &totals);
    while (totals.acknowledged < (uint64_t)count * batches) {
        if (duration == 0 && totals.acknowledged * 10 >= (uint64_t)count * batches * 9)
            duration = seconds(CLOCK_MONOTONIC) - begin;
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, sizeof events / sizeof *events, 1000);
        if (seconds(CLOCK_MONOTONIC) - begin > DEADLINE_SECONDS)
            die("%llu of %llu batches are acknowledged in %d s", (unsigned long long)totals.acknowledged,
                (unsigned long long)count * batches, DEADLINE_SECONDS);
        for (int event = 0; event < ready; event++) {
            struct agent *agent = events[event].data.ptr;
            while (read_acknowledgements(agent, &totals)) continue;
            if (events[event].events & EPOLLOUT) agent->is_writable = 1;
            send_batches(agent, &totals);
        }
    }
    printf("%llu %llu %llu %.3f\n", (unsigned long long)totals.sent * FLOWS_PER_BATCH,
           (unsigned long long)totals.reported_bytes, (unsigned long long)totals.wire_bytes,
           duration > 0 ? duration : seconds(CLOCK_MONOTONIC) - begin);
    fflush(stdout);
}

int main(int argument_count, char **arguments) {
    if (argument_count == 2 && strcmp(arguments[1], "inventory") == 0) {
        print_inventory();
        return 0;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (argument_count == 5 && strcmp(arguments[1], "fleet") == 0)
        return run_fleet((uint16_t)atoi(arguments[2]), (unsigned)atoi(arguments[3]), (unsigned)atoi(arguments[4]));
    if (argument_count == 3 && strcmp(arguments[1], "reference") == 0)
        return run_reference((unsigned)atoi(arguments[2]));
    if (argument_count < 4 || argument_count > 5 || strcmp(arguments[1], "send") != 0) {
        fputs("usage: ServerLoad inventory | send PORT CONNECTIONS [BATCHES_UNDER_WAY] | fleet PORT AGENTS SOURCES | "
              "reference THREADS\n",
              stderr);
        return 2;
    }
    uint16_t port = (uint16_t)atoi(arguments[2]);
    unsigned count = (unsigned)atoi(arguments[3]);
    if (argument_count == 5) most_under_way = (unsigned)atoi(arguments[4]);
    for (unsigned node = 0; node < NODES; node++)
        for (unsigned number = 0; number < BODIES; number++) bodies[node][number] = make_body(node, FLOWS_PER_BATCH);
    struct agent *agents = calloc(count, sizeof *agents);
    uint8_t *input = malloc((size_t)count * INPUT_CAPACITY);
    int poller = epoll_create1(0);
    if (!agents || !input || poller < 0) die("%s", strerror(errno));
    for (unsigned number = 0; number < count; number++) {
        struct agent *agent = &agents[number];
        agent->input = input + (size_t)number * INPUT_CAPACITY;
        greet(agent, port, number);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = agent};
        epoll_ctl(poller, EPOLL_CTL_ADD, agent->fd, &event);
    }
    puts("READY");
    fflush(stdout);
    char line[32];
    while (fgets(line, sizeof line, stdin)) send_all(agents, count, (unsigned)atoi(line), poller);
    return 0;
}
