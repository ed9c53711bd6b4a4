// SPDX-License-Identifier: Apache-2.0
#include "batch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"

enum { PEERS_PER_POD = 40, MAXIMUM_VARINT = 10 };

// The field numbers of FlowBatch's columns. Those of addresses are fixed32.
enum column {
    IPV4_SOURCE = 3,
    IPV4_DESTINATION = 4,
    SOURCE_PORT = 7,
    DESTINATION_PORT = 8,
    TRANSPORT = 9,
    ORIGINAL_PACKETS = 10,
    ORIGINAL_BYTES = 11,
    REPLY_PACKETS = 12,
    REPLY_BYTES = 13,
    TRANSLATED = 14,
    TRANSLATED_SOURCE = 15,
    TRANSLATED_DESTINATION = 16,
    TRANSLATED_SOURCE_PORT = 19,
    TRANSLATED_DESTINATION_PORT = 20,
    COLUMNS = 21,
};

struct columns {
    uint8_t bytes[COLUMNS][FLOWS_PER_BATCH * MAXIMUM_VARINT];
    size_t length[COLUMNS];
};

static size_t write_varint(uint8_t *at, uint64_t value) {
    size_t length = 0;
    for (; value >= 0x80; value >>= 7) at[length++] = (uint8_t)(value | 0x80);
    at[length++] = (uint8_t)value;
    return length;
}

static size_t write_key(uint8_t *at, unsigned field, unsigned type) { return write_varint(at, field << 3 | type); }

static void add(struct columns *columns, enum column column, uint64_t value) {
    uint8_t *at = columns->bytes[column] + columns->length[column];
    columns->length[column] += write_varint(at, value);
}

// fixed32 is little-endian.
static void add_address(struct columns *columns, enum column column, uint32_t address) {
    for (int byte = 0; byte < 4; byte++)
        columns->bytes[column][columns->length[column]++] = (uint8_t)(address >> 8 * byte);
}

static uint64_t random_bits(void) {
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static unsigned random_below(unsigned bound) { return (unsigned)((random_bits() >> 32) * bound >> 32); }

static unsigned peer_of(unsigned pod) {
    unsigned peer = (pod * 7919 + random_below(PEERS_PER_POD) * 2741) % PODS;
    return peer == pod ? (peer + 1) % PODS : peer;
}

static uint32_t public_address(int of_cloud) {
    if (!of_cloud) return 77u << 24 | (uint32_t)(random_bits() >> 32 & 0xffffff);
    struct range range = cloud_range(random_below(RANGES));
    return range.base + random_below(1u << (32 - range.length));
}

// From a packet to about 2 MB, small amounts more often than large ones.
static uint64_t amount(void) { return 60 + (random_bits() & ((1u << (6 + random_below(16))) - 1)); }

static void add_counters(struct columns *columns, enum column packets, enum column bytes, uint64_t amount) {
    add(columns, packets, 1 + amount / 900);
    add(columns, bytes, amount);
}

static void add_flow(struct columns *columns, unsigned node, unsigned number, uint64_t *reported_bytes) {
    unsigned local = node * PODS_PER_NODE + random_below(PODS_PER_NODE), peer = peer_of(local), kind = number % 10;
    int is_between_pods = kind < 6, is_local_source = (int)(random_bits() >> 40 & 1);
    uint32_t local_address = pod_address(local),
             remote_address = is_between_pods ? pod_address(peer) : public_address(kind < 9);
    uint32_t source = is_local_source ? local_address : remote_address,
             destination = is_local_source ? remote_address : local_address;
    uint16_t source_port = (uint16_t)(32768 + random_below(28232)),
             destination_port = is_local_source && !is_between_pods ? 443 : server_port(is_local_source ? peer : local);
    int is_translated = is_between_pods && is_local_source && random_below(3) == 0;
    add_address(columns, IPV4_SOURCE, source);
    add_address(columns, IPV4_DESTINATION, is_translated ? service_address(peer) : destination);
    add(columns, SOURCE_PORT, source_port);
    add(columns, DESTINATION_PORT, destination_port);
    columns->bytes[TRANSPORT][columns->length[TRANSPORT]++] = destination_port == 53 ? IPPROTO_UDP : IPPROTO_TCP;
    uint64_t sent = amount(), received = amount();
    add_counters(columns, ORIGINAL_PACKETS, ORIGINAL_BYTES, sent);
    add_counters(columns, REPLY_PACKETS, REPLY_BYTES, received);
    *reported_bytes += sent + received;
    if (!is_translated) return;
    add(columns, TRANSLATED, number);
    add_address(columns, TRANSLATED_SOURCE, destination);
    add_address(columns, TRANSLATED_DESTINATION, source);
    add(columns, TRANSLATED_SOURCE_PORT, destination_port);
    add(columns, TRANSLATED_DESTINATION_PORT, source_port);
}

struct body make_body(unsigned node, unsigned flows) {
    struct columns *columns = calloc(1, sizeof *columns);
    struct body body = {.bytes = malloc(sizeof *columns)};
    if (!columns || !body.bytes) abort();
    for (unsigned number = 0; number < flows; number++)
        add_flow(columns, node, number, &body.reported_bytes);
    for (unsigned column = 0; column < COLUMNS; column++) {
        if (columns->length[column] == 0) continue;
        body.length += write_key(body.bytes + body.length, column, 2);
        body.length += write_varint(body.bytes + body.length, columns->length[column]);
        memcpy(body.bytes + body.length, columns->bytes[column], columns->length[column]);
        body.length += columns->length[column];
    }
    free(columns);
    body.bytes = realloc(body.bytes, body.length);
    return body;
}

size_t write_head(uint8_t *head, const struct body *body, uint64_t sequence, uint64_t milliseconds) {
    uint8_t fields[HEAD_CAPACITY];
    size_t length = write_key(fields, 1, 0);
    length += write_varint(fields + length, sequence);
    length += write_key(fields + length, 2, 0);
    length += write_varint(fields + length, milliseconds);
    size_t at = sizeof(uint32_t);
    at += write_key(head + at, 2, 2);
    at += write_varint(head + at, length + body->length);
    memcpy(head + at, fields, length);
    at += length;
    uint32_t frame = htonl((uint32_t)(at - sizeof frame + body->length));
    memcpy(head, &frame, sizeof frame);
    return at;
}

size_t write_hello(uint8_t *frame, unsigned node, uint64_t agent) {
    char name[64];
    int name_length = snprintf(name, sizeof name, "ip-172-16-0-%u.eu-central-1.compute.internal", node + 1);
    uint8_t fields[128];
    size_t length = write_key(fields, 1, 0);
    length += write_varint(fields + length, 1);
    length += write_key(fields + length, 2, 2);
    length += write_varint(fields + length, (uint64_t)name_length);
    memcpy(fields + length, name, (size_t)name_length);
    length += (size_t)name_length;
    length += write_key(fields + length, 3, 2);
    length += write_varint(fields + length, 16);
    uint64_t id[] = {agent, random_bits()};
    memcpy(fields + length, id, sizeof id);
    length += sizeof id;
    size_t at = sizeof(uint32_t);
    at += write_key(frame + at, 1, 2);
    at += write_varint(frame + at, length);
    memcpy(frame + at, fields, length);
    at += length;
    uint32_t announced = htonl((uint32_t)(at - sizeof announced));
    memcpy(frame, &announced, sizeof announced);
    return at;
}
