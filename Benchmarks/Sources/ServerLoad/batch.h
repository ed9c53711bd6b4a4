// SPDX-License-Identifier: Apache-2.0
//
// Messages of proto/flow.proto, written by hand: bodies of batches are made once, and only their heads are written for
// every send.
#ifndef SERVER_LOAD_BATCH_H
#define SERVER_LOAD_BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { FLOWS_PER_BATCH = 1000, HEAD_CAPACITY = 64 };

/// A batch without its sequence number and time.
struct body {
    uint8_t *bytes;
    size_t length;
    uint64_t reported_bytes;
};

/// Makes a batch of a node's flows: 60 % are between pods (a third of those opened by the node's pods go through a
/// service's address), 30 % are with clouds, 10 % with other public addresses. Each has bytes in both directions.
///
/// `flows` is at most FLOWS_PER_BATCH.
struct body make_body(unsigned node, unsigned flows);

/// Writes the head that precedes a body, including the frame's length, and returns the head's length.
size_t write_head(uint8_t *head, const struct body *body, uint64_t sequence, uint64_t milliseconds);

/// Writes the Hello of a node's agent as a frame and returns its length.
size_t write_hello(uint8_t *frame, unsigned node, uint64_t agent);

#endif
