// SPDX-License-Identifier: Apache-2.0
//
// Generates many short TCP connections and UDP exchanges, for tests of the counts.
//
//   churn serve PORT
//     Answers TCP connections and UDP datagrams until it is killed. Prints "ready" once it listens. A request begins
//     with the size of the response in bytes: 4 bytes, big-endian. The server closes a TCP connection first, so that
//     the client's port can be reused at once.
//
//   churn tcp|udp ADDRESS PORT RATE SECONDS FIRST_LOCAL_PORT LOCAL_PORTS
//     Makes RATE * SECONDS exchanges, each of its own size and with its own connection or socket, from LOCAL_PORTS
//     local ports in turn; with LOCAL_PORTS 0, the system chooses the ports. Starts RATE exchanges a second, or fewer
//     on a busy machine. Prints the number of exchanges that succeeded: for TCP from ports of the system, all as a
//     rule.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, MAXIMUM_SIZE = 12000, MAXIMUM_DATAGRAM = 1200 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int receive_all(int fd, void *buffer, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t n = recv(fd, (char *)buffer + done, length - done, 0);
        if (n <= 0) return -1;
        done += (size_t)n;
    }
    return 0;
}

// ---------------------------------------------------------------- server

static void *serve_tcp(void *argument) {
    int listener = (int)(long)argument;
    static const char answer[MAXIMUM_SIZE];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        uint32_t size;
        if (receive_all(fd, &size, sizeof size) == 0 && ntohl(size) <= MAXIMUM_SIZE)
            (void)!send(fd, answer, ntohl(size), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void *serve_udp(void *argument) {
    int fd = (int)(long)argument;
    char request[MAXIMUM_DATAGRAM];
    static const char answer[MAXIMUM_DATAGRAM];
    for (;;) {
        struct sockaddr_in6 peer;
        socklen_t length = sizeof peer;
        ssize_t n = recvfrom(fd, request, sizeof request, 0, (struct sockaddr *)&peer, &length);
        if (n < (ssize_t)sizeof(uint32_t)) continue;
        uint32_t size;
        memcpy(&size, request, sizeof size);
        if (ntohl(size) <= MAXIMUM_DATAGRAM)
            sendto(fd, answer, ntohl(size), 0, (struct sockaddr *)&peer, length);
    }
    return NULL;
}

static int serve(int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int tcp = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET6, SOCK_DGRAM, 0), on = 1, large = 4 << 20;
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    if (bind(tcp, (struct sockaddr *)&address, sizeof address) || listen(tcp, 4096)) die("listen");
    if (bind(udp, (struct sockaddr *)&address, sizeof address)) die("bind");
    pthread_t thread;
    for (int i = 0; i < THREADS; i++) pthread_create(&thread, NULL, serve_tcp, (void *)(long)tcp);
    pthread_create(&thread, NULL, serve_udp, (void *)(long)udp);
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}

// ---------------------------------------------------------------- client

static struct sockaddr_storage server;
static socklen_t server_length;
static int type, first_port, ports;
static double rate, seconds;

static int exchange(unsigned number) {
    char request[MAXIMUM_SIZE], answer[MAXIMUM_SIZE];
    int limit = type == SOCK_STREAM ? MAXIMUM_SIZE : MAXIMUM_DATAGRAM;
    // Sizes look random but are the same in every run.
    unsigned mixed = number * 2654435761u;
    uint32_t size = htonl(mixed % (unsigned)limit);
    size_t request_length = sizeof size + (type == SOCK_DGRAM ? mixed % 500 : 0);
    memset(request, 0, request_length);
    memcpy(request, &size, sizeof size);

    int fd = socket(server.ss_family, type, 0), on = 1;
    // A datagram, or a connection from a reused port, may be lost and gets a short timeout. Every other exchange gets
    // its response, however busy the machine is.
    struct timeval timeout = {.tv_sec = type == SOCK_DGRAM || ports ? 5 : 300};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (ports) {
        struct sockaddr_storage local = {.ss_family = server.ss_family};
        // sin_port and sin6_port have the same offset.
        ((struct sockaddr_in *)&local)->sin_port = htons((uint16_t)(first_port + (int)(number % (unsigned)ports)));
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&local, server_length)) goto failed;
    }
    if (connect(fd, (struct sockaddr *)&server, server_length)) goto failed;
    if (send(fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) goto failed;
    if (type == SOCK_DGRAM) {
        if (recv(fd, answer, sizeof answer, 0) != (ssize_t)ntohl(size)) goto failed;
    } else {
        if (receive_all(fd, answer, ntohl(size))) goto failed;
        // The server closes first.
        if (recv(fd, answer, 1, 0) != 0) goto failed;
    }
    close(fd);
    return 1;
failed:
    close(fd);
    return 0;
}

static void *run(void *argument) {
    long thread = (long)argument, succeeded = 0, total = (long)(rate * seconds);
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = thread; i < total; i += THREADS) {
        double due = (double)i / rate;
        struct timespec at = {.tv_sec = start.tv_sec + (long)due,
                              .tv_nsec = start.tv_nsec + (long)((due - (double)(long)due) * 1e9)};
        if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        succeeded += exchange((unsigned)i);
    }
    return (void *)succeeded;
}

static int make_traffic(char **arguments) {
    type = strcmp(arguments[0], "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&server;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&server;
    if (inet_pton(AF_INET, arguments[1], &v4->sin_addr) == 1) {
        server.ss_family = AF_INET, server_length = sizeof *v4, v4->sin_port = htons((uint16_t)atoi(arguments[2]));
    } else if (inet_pton(AF_INET6, arguments[1], &v6->sin6_addr) == 1) {
        server.ss_family = AF_INET6, server_length = sizeof *v6, v6->sin6_port = htons((uint16_t)atoi(arguments[2]));
    } else {
        fprintf(stderr, "churn: '%s' is not an address\n", arguments[1]);
        return 2;
    }
    rate = atof(arguments[3]), seconds = atof(arguments[4]);
    first_port = atoi(arguments[5]), ports = atoi(arguments[6]);
    pthread_t threads[THREADS];
    long succeeded = 0;
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        succeeded += (long)result;
    }
    printf("%ld\n", succeeded);
    return succeeded > 0 ? 0 : 1;
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "serve") == 0) return serve(atoi(arguments[2]));
    if (count == 8 && (strcmp(arguments[1], "tcp") == 0 || strcmp(arguments[1], "udp") == 0))
        return make_traffic(arguments + 1);
    fputs("usage: churn serve PORT | churn tcp|udp ADDRESS PORT RATE SECONDS FIRST_LOCAL_PORT LOCAL_PORTS\n", stderr);
    return 2;
}
