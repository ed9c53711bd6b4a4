// SPDX-License-Identifier: Apache-2.0
#ifndef SERVER_LOAD_REFERENCE_H
#define SERVER_LOAD_REFERENCE_H

/// Does in C what no server can avoid, with the frames of `send`, so that a server's CPU time can be told as a multiple of
/// it: receives each frame through a socket, unpacks it, looks both addresses of every flow up in a hash table of the
/// cluster's pods, writes two rows of 76 bytes a flow into columns, and compresses blocks of 100,000 rows.
///
/// Each of `threads` threads has blocks of its own, as each event loop of a server does. For each line with a number on
/// standard input, the threads together handle that many batches of every node, and one line is printed:
///
///     OBSERVATIONS CPU_SECONDS
int run_reference(unsigned threads);

#endif
