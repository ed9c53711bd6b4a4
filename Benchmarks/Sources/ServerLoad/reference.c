// SPDX-License-Identifier: Apache-2.0
#include "reference.h"

#include <errno.h>
#include <lz4.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "batch.h"
#include "cluster.h"
#include "flow.pb-c.h"

enum {
    BODIES = 4,
    ROWS_PER_BLOCK = 100000,
    // A power of two above twice the number of pods.
    TABLE_SIZE = 1 << 14,
    LABELS = 6,
    MAXIMUM_FRAME = 1 << 18,
    SOCKET_BUFFER = 1 << 20,
};

struct entry {
    uint32_t address;
    uint32_t labels[LABELS];
};

/// The columns of a block, 76 bytes a row.
struct block {
    uint32_t time[ROWS_PER_BLOCK];
    uint8_t address[2][ROWS_PER_BLOCK][16];
    uint16_t port[2][ROWS_PER_BLOCK];
    uint8_t transport[ROWS_PER_BLOCK];
    uint8_t direction[ROWS_PER_BLOCK];
    uint64_t bytes[ROWS_PER_BLOCK];
    uint32_t packets[ROWS_PER_BLOCK];
    uint16_t label[2 * LABELS - 1][ROWS_PER_BLOCK];
};

struct worker {
    pthread_t thread;
    unsigned number, workers, batches;
    int sockets[2];
    struct block *block;
    unsigned rows;
    uint8_t *input, *compressed;
    // What is printed nowhere, so that the compiler removes nothing.
    uint64_t compressed_bytes;
};

static struct body bodies[NODES][BODIES];
static struct entry table[TABLE_SIZE];

static void fail(const char *what) {
    fprintf(stderr, "ServerLoad: %s: %s\n", what, strerror(errno));
    exit(1);
}

// The finalizer of MurmurHash3.
static uint32_t hash(uint32_t value) {
    value = (value ^ value >> 16) * 0x85ebca6b;
    value = (value ^ value >> 13) * 0xc2b2ae35;
    return value ^ value >> 16;
}

/// Returns the place of an address, or the empty one at which it would be.
static struct entry *find(uint32_t address) {
    uint32_t place = hash(address) % TABLE_SIZE;
    while (table[place].address && table[place].address != address) place = (place + 1) % TABLE_SIZE;
    return &table[place];
}

static void fill_table(void) {
    for (unsigned pod = 0; pod < PODS; pod++) {
        struct entry *entry = find(pod_address(pod));
        entry->address = pod_address(pod);
        for (unsigned label = 0; label < LABELS; label++) entry->labels[label] = 1 + (pod * (label + 1)) % (10u << label);
    }
}

static void write_address(uint8_t *at, uint32_t address) {
    memset(at, 0, 10);
    memset(at + 10, 0xff, 2);
    memcpy(at + 12, &address, sizeof address);
}

/// Compresses every column on its own, as the server does.
static void finish_block(struct worker *worker) {
    const char *at = (const char *)worker->block;
    size_t widths[] = {4, 16, 16, 2, 2, 1, 1, 8, 4};
    for (size_t column = 0; column < sizeof widths / sizeof *widths + 2 * LABELS - 1; column++) {
        size_t size = ROWS_PER_BLOCK * (column < sizeof widths / sizeof *widths ? widths[column] : sizeof(uint16_t));
        int made = LZ4_compress_default(at, (char *)worker->compressed, (int)size, LZ4_compressBound((int)size));
        if (made <= 0) fail("LZ4");
        worker->compressed_bytes += (uint64_t)made;
        at += size;
    }
    worker->rows = 0;
}

static void add_row(struct worker *worker, const Kubenetmon__V1__FlowBatch *batch, size_t flow, int is_reply,
                    const struct entry *source, const struct entry *destination) {
    struct block *block = worker->block;
    unsigned row = worker->rows++;
    block->time[row] = (uint32_t)(batch->observed_at_ms / 1000);
    write_address(block->address[0][row], batch->ipv4_source[flow]);
    write_address(block->address[1][row], batch->ipv4_destination[flow]);
    block->port[0][row] = (uint16_t)batch->source_port[flow];
    block->port[1][row] = (uint16_t)batch->destination_port[flow];
    block->transport[row] = batch->transport.data[flow];
    block->direction[row] = (uint8_t)is_reply;
    block->bytes[row] = (is_reply ? batch->reply_bytes : batch->original_bytes)[flow];
    block->packets[row] = (uint32_t)(is_reply ? batch->reply_packets : batch->original_packets)[flow];
    for (unsigned label = 0; label < LABELS; label++) block->label[label][row] = (uint16_t)source->labels[label];
    for (unsigned label = 0; label < LABELS - 1; label++)
        block->label[LABELS + label][row] = (uint16_t)destination->labels[label];
    if (worker->rows == ROWS_PER_BLOCK) finish_block(worker);
}

static void transfer(struct worker *worker, const uint8_t *bytes, size_t length) {
    for (size_t sent = 0; sent < length;) {
        ssize_t written = write(worker->sockets[0], bytes + sent, length - sent);
        if (written <= 0) fail("write");
        sent += (size_t)written;
    }
}

static void receive(struct worker *worker, size_t length) {
    for (size_t received = 0; received < length;) {
        ssize_t read_bytes = read(worker->sockets[1], worker->input + received, length - received);
        if (read_bytes <= 0) fail("read");
        received += (size_t)read_bytes;
    }
}

static void handle(struct worker *worker, const struct body *body, uint64_t sequence) {
    uint8_t head[HEAD_CAPACITY];
    size_t head_length = write_head(head, body, sequence, 1760000000000), length = head_length + body->length;
    if (length > MAXIMUM_FRAME) fail("a frame is too long");
    transfer(worker, head, head_length);
    transfer(worker, body->bytes, body->length);
    receive(worker, length);
    Kubenetmon__V1__AgentMessage *message = kubenetmon__v1__agent_message__unpack(
        NULL, length - sizeof(uint32_t), worker->input + sizeof(uint32_t));
    if (!message || message->body_case != KUBENETMON__V1__AGENT_MESSAGE__BODY_BATCH) fail("a frame is malformed");
    const Kubenetmon__V1__FlowBatch *batch = message->batch;
    for (size_t flow = 0; flow < batch->transport.len; flow++) {
        const struct entry *source = find(batch->ipv4_source[flow]), *destination = find(batch->ipv4_destination[flow]);
        add_row(worker, batch, flow, 0, source, destination);
        add_row(worker, batch, flow, 1, source, destination);
    }
    kubenetmon__v1__agent_message__free_unpacked(message, NULL);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    for (unsigned batch = 0; batch < worker->batches; batch++)
        for (unsigned node = worker->number; node < NODES; node += worker->workers)
            handle(worker, &bodies[node][batch % BODIES], batch + 1);
    return NULL;
}

static double cpu_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int run_reference(unsigned threads) {
    struct worker *workers = calloc(threads, sizeof *workers);
    if (!workers) fail("memory");
    for (unsigned node = 0; node < NODES; node++)
        for (unsigned number = 0; number < BODIES; number++) bodies[node][number] = make_body(node, FLOWS_PER_BATCH);
    fill_table();
    for (unsigned number = 0; number < threads; number++) {
        struct worker *worker = &workers[number];
        int size = SOCKET_BUFFER;
        worker->number = number;
        worker->workers = threads;
        worker->block = malloc(sizeof *worker->block);
        worker->input = malloc(MAXIMUM_FRAME);
        worker->compressed = malloc((size_t)LZ4_compressBound(16 * ROWS_PER_BLOCK));
        if (!worker->block || !worker->input || !worker->compressed) fail("memory");
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, worker->sockets)) fail("socketpair");
        // A whole frame fits, because the same thread writes and reads it.
        setsockopt(worker->sockets[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
        unsigned batches = (unsigned)atoi(line);
        double begin = cpu_seconds();
        for (unsigned number = 0; number < threads; number++) {
            workers[number].batches = batches;
            if (pthread_create(&workers[number].thread, NULL, work, &workers[number])) fail("pthread_create");
        }
        for (unsigned number = 0; number < threads; number++) pthread_join(workers[number].thread, NULL);
        printf("%llu %.6f\n", (unsigned long long)batches * NODES * FLOWS_PER_BATCH, cpu_seconds() - begin);
        fflush(stdout);
    }
    return 0;
}
