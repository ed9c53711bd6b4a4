// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "fleet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "cluster.h"

enum {
    INPUT_CAPACITY = 512,
    // The number of an agent's batches whose start times are kept.
    REMEMBERED = 32,
    // The maximum number of connections being opened: the server's backlog is 1,024.
    MOST_CONNECTING = 256,
    // The time limit for a command's last acknowledgements.
    GRACE_SECONDS = 30,
};

enum state { DOWN, CONNECTING, UP };

struct member {
    enum state state;
    int fd;
    unsigned number;
    double retry_at;
    uint64_t sequence;
    // The batch that is being sent.
    uint8_t head[HEAD_CAPACITY];
    size_t head_length, sent;
    const struct body *body;
    // The start times of the last batches, by sequence number; 0 once a batch is acknowledged.
    double begun[REMEMBERED];
    uint8_t input[INPUT_CAPACITY];
    size_t input_length;
};

struct pace {
    int is_running;
    double begin, end, interval;
    // The number of batches so far; modulo the number of agents, the number of the next agent to send.
    uint64_t next;
    float *milliseconds;
    size_t acknowledged, capacity, lost;
};

static struct member *members;
static unsigned member_count, source_count, connecting, up;
static int poller;
static struct sockaddr_in server;
static struct body bodies[NODES];
static struct pace pace;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "ServerLoad: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void disconnect(struct member *member) {
    if (member->state == CONNECTING) connecting--;
    if (member->state == UP) up--;
    close(member->fd);
    member->state = DOWN;
    member->retry_at = now() + 0.25 + 0.5 * drand48();
    member->body = NULL;
    member->input_length = 0;
    for (unsigned place = 0; place < REMEMBERED; place++) {
        pace.lost += member->begun[place] > 0;
        member->begun[place] = 0;
    }
}

static void begin_connecting(struct member *member) {
    struct sockaddr_in source = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + member->number % source_count)};
    int one = 1;
    member->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (member->fd < 0) fail("socket");
    // The port is chosen once the destination is known, so that each source address can use all ports.
    setsockopt(member->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    if (bind(member->fd, (struct sockaddr *)&source, sizeof source)) fail("bind");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = member};
    epoll_ctl(poller, EPOLL_CTL_ADD, member->fd, &event);
    member->state = CONNECTING;
    connecting++;
    if (connect(member->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) disconnect(member);
}

static void greet(struct member *member) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(member->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    uint8_t hello[256];
    size_t size = write_hello(hello, member->number % NODES, member->number);
    if (error || send(member->fd, hello, size, MSG_NOSIGNAL) != (ssize_t)size) return disconnect(member);
    connecting--;
    up++;
    member->state = UP;
}

static void send_rest(struct member *member) {
    while (member->body) {
        size_t of_head = member->sent < member->head_length ? member->sent : member->head_length,
               of_body = member->sent - of_head;
        struct iovec parts[] = {{member->head + of_head, member->head_length - of_head},
                                {member->body->bytes + of_body, member->body->length - of_body}};
        ssize_t written =
            sendmsg(member->fd, &(struct msghdr){.msg_iov = parts, .msg_iovlen = 2}, MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN) return disconnect(member);
        if (written < 0) return;
        member->sent += (size_t)written;
        if (member->sent == member->head_length + member->body->length) member->body = NULL;
    }
}

static void begin_batch(struct member *member) {
    // An agent that is not up, or whose last batch the server has not read yet, skips this batch: it is missing, not
    // lost.
    if (member->state != UP || member->body) return;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    member->body = &bodies[member->number % NODES];
    member->head_length = write_head(member->head, member->body, ++member->sequence,
                                     (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000);
    member->sent = 0;
    member->begun[member->sequence % REMEMBERED] = now();
    send_rest(member);
}

static void acknowledge(struct member *member, uint64_t sequence) {
    double begun = member->begun[sequence % REMEMBERED];
    if (begun == 0) return;
    member->begun[sequence % REMEMBERED] = 0;
    if (pace.acknowledged == pace.capacity) {
        pace.capacity = pace.capacity ? 2 * pace.capacity : 1 << 16;
        pace.milliseconds = realloc(pace.milliseconds, pace.capacity * sizeof *pace.milliseconds);
        if (!pace.milliseconds) fail("realloc");
    }
    pace.milliseconds[pace.acknowledged++] = (float)((now() - begun) * 1e3);
}

/// Reads a ServerMessage; returns false if it is neither an Ack nor empty (a heartbeat).
static int read_message(struct member *member, const uint8_t *message, size_t length) {
    if (length == 0) return 1;
    if (message[0] != (1 << 3 | 2)) return 0;
    // The first four varints are the keys and lengths of Ack and of its one field.
    unsigned number = 0;
    uint64_t value = 0;
    unsigned shift = 0;
    for (size_t at = 0; at < length; at++) {
        value |= (uint64_t)(message[at] & 0x7f) << shift;
        shift += 7;
        if (message[at] >= 0x80) continue;
        if (++number > 4) acknowledge(member, value);
        value = shift = 0;
    }
    return 1;
}

static void read_messages(struct member *member) {
    for (;;) {
        ssize_t received = recv(member->fd, member->input + member->input_length,
                                INPUT_CAPACITY - member->input_length, 0);
        if (received < 0 && errno == EAGAIN) return;
        if (received <= 0) return disconnect(member);
        member->input_length += (size_t)received;
        size_t at = 0;
        uint32_t length;
        while (member->input_length - at >= sizeof length) {
            memcpy(&length, member->input + at, sizeof length);
            length = ntohl(length);
            if (length > INPUT_CAPACITY - sizeof length) return disconnect(member);
            if (member->input_length - at - sizeof length < length) break;
            if (!read_message(member, member->input + at + sizeof length, length)) return disconnect(member);
            at += sizeof length + length;
        }
        member->input_length -= at;
        memmove(member->input, member->input + at, member->input_length);
    }
}

static int is_later(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

static unsigned unacknowledged(void) {
    unsigned count = 0;
    for (unsigned number = 0; number < member_count; number++)
        for (unsigned place = 0; place < REMEMBERED; place++) count += members[number].begun[place] > 0;
    return count;
}

static void finish_pace(void) {
    unsigned left = unacknowledged();
    if (left > 0 && now() < pace.end + GRACE_SECONDS) return;
    qsort(pace.milliseconds, pace.acknowledged, sizeof *pace.milliseconds, is_later);
    size_t last = pace.acknowledged ? pace.acknowledged - 1 : 0;
    float none = 0, *times = pace.acknowledged ? pace.milliseconds : &none;
    printf("%zu %.1f %.1f %.1f %zu\n", pace.acknowledged, times[last / 2], times[last * 99 / 100], times[last],
           pace.lost + left);
    fflush(stdout);
    pace.is_running = 0;
}

static void command(char *line) {
    double seconds, interval;
    unsigned flows;
    if (sscanf(line, "pace %lf %lf %u", &seconds, &interval, &flows) != 3 || flows < 1 || flows > FLOWS_PER_BATCH) {
        fprintf(stderr, "ServerLoad: not understood: %s", line);
        exit(2);
    }
    for (unsigned node = 0; node < NODES; node++) {
        free(bodies[node].bytes);
        bodies[node] = make_body(node, flows);
    }
    float *milliseconds = pace.milliseconds;
    pace = (struct pace){.is_running = 1, .begin = now(), .end = now() + seconds, .interval = interval / 1e3,
                         .milliseconds = milliseconds, .capacity = pace.capacity};
}

/// Performs the actions that are due, and returns the milliseconds until the next check.
static int do_what_is_due(void) {
    double time = now();
    if (pace.is_running && time < pace.end) {
        for (; pace.begin + pace.interval * (double)pace.next / member_count <= time; pace.next++)
            begin_batch(&members[pace.next % member_count]);
    } else if (pace.is_running) {
        finish_pace();
    }
    for (unsigned number = 0; up < member_count && number < member_count && connecting < MOST_CONNECTING; number++)
        if (members[number].state == DOWN && members[number].retry_at <= time) begin_connecting(&members[number]);
    return pace.is_running ? 1 : 20;
}

int run_fleet(uint16_t port, unsigned agents, unsigned sources) {
    server = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    member_count = agents;
    source_count = sources;
    members = calloc(agents, sizeof *members);
    poller = epoll_create1(0);
    if (!members || poller < 0) fail("start");
    for (unsigned number = 0; number < agents; number++) members[number].number = number;
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    for (;;) {
        struct epoll_event events[512];
        int ready = epoll_wait(poller, events, sizeof events / sizeof *events, do_what_is_due());
        for (int place = 0; place < ready; place++) {
            struct member *member = events[place].data.ptr;
            if (!member) {
                char line[128];
                ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
                if (length == 0) return 0;
                line[length > 0 ? length : 0] = 0;
                if (length > 0) command(line);
                continue;
            }
            if (member->state == CONNECTING) greet(member);
            if (member->state == UP) read_messages(member);
            if (member->state == UP) send_rest(member);
        }
    }
}
