// SPDX-License-Identifier: Apache-2.0
//
// Messages of proto/flow.proto, written by hand: bodies of batches are made once, only their heads are written anew for
// every send.
#ifndef SERVER_LOAD_BATCH_H
#define SERVER_LOAD_BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { FLOWS_PER_BATCH = 1000, HEAD_CAPACITY = 64 };

/// A batch without its number and time.
struct body {
    uint8_t *bytes;
    size_t length;
    uint64_t reported_bytes;
};

/// What a node sees: 60 % of its flows are between pods (of those that its pods open a third through a service's
/// address), 30 % go to clouds, 10 % to other public addresses. Both directions of each carried something.
///
/// `flows` are FLOWS_PER_BATCH at most.
struct body make_body(unsigned node, unsigned flows);

/// Writes what comes before a body, the frame's length included, and returns its length.
size_t write_head(uint8_t *head, const struct body *body, uint64_t sequence, uint64_t milliseconds);

/// Writes the Hello of a node's agent as a frame and returns its length.
size_t write_hello(uint8_t *frame, unsigned node, uint64_t agent);

#endif
