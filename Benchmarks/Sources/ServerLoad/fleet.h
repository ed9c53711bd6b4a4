// SPDX-License-Identifier: Apache-2.0
#ifndef SERVER_LOAD_FLEET_H
#define SERVER_LOAD_FLEET_H

#include <stdint.h>

/// Keeps `agents` agents connected to a server, from `sources` addresses of the loopback, until standard input ends.
///
/// An agent whose connection is lost reconnects after 0.25 to 0.75 s, as a real agent does at first. Each line on
/// standard input is a command, whose result is printed as one line:
///
///     pace SECONDS INTERVAL_MS FLOWS    Every agent sends a batch of FLOWS flows per interval; the agents are spread
///                                       evenly over it. Prints BATCHES P50_MS P99_MS MAX_MS LOST, where the times are
///                                       those from a batch to its acknowledgement.
int run_fleet(uint16_t port, unsigned agents, unsigned sources);

#endif
