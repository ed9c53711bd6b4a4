// SPDX-License-Identifier: Apache-2.0

#ifndef CREFERENCE_H
#define CREFERENCE_H

#include <stddef.h>
#include <stdint.h>

/// Tables of the sizes of the server's, filled at random: what no labelling of a flow can avoid is to read places of them
/// that are in no cache.
///
/// A look-up finds both ends of a flow in a hash table (2 MB), reads the record of each (3 MB), and for three flows of ten
/// searches a sorted table (1 MB), as for an address of a cloud. Each step depends on the one before.
struct reference;

struct reference *reference_make(void);

/// Does `count` look-ups of random ends, the same ones in every call, and returns a number made of all they found.
uint64_t reference_look_up(const struct reference *reference, size_t count);

void reference_free(struct reference *reference);

#endif
