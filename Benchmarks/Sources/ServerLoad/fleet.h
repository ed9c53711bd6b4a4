// SPDX-License-Identifier: Apache-2.0
#ifndef SERVER_LOAD_FLEET_H
#define SERVER_LOAD_FLEET_H

#include <stdint.h>

/// Keeps so many agents connected to a server, from as many addresses of the loopback, until standard input ends.
///
/// An agent whose connection is lost connects anew after a quarter to three quarters of a second, as the real one does at
/// first. Commands on standard input, a line each, are answered with a line:
///
///     pace SECONDS INTERVAL_MS FLOWS    every agent sends a batch of so many flows an interval, each at its own moment:
///                                       BATCHES P50_MS P99_MS MAX_MS LOST, times from a batch to its acknowledgement
int run_fleet(uint16_t port, unsigned agents, unsigned sources);

#endif
