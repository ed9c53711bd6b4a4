// SPDX-License-Identifier: Apache-2.0
//
// The cluster in the server's inventory, from which the load comes: 200 nodes with 25 pods each, and blocks of public
// addresses in the shape of the clouds' lists.
#ifndef SERVER_LOAD_CLUSTER_H
#define SERVER_LOAD_CLUSTER_H

#include <stdint.h>

enum {
    NODES = 200,
    PODS_PER_NODE = 25,
    PODS = NODES * PODS_PER_NODE,
    APPS = 500,
    RANGES = 4000,
    WIDE_RANGES = 64,
    FIRST_OCTETS = 8,
};

/// Prints the cluster as an inventory for kubenetmon-server.
void print_inventory(void);

/// Returns a pod's address; pods are numbered node by node.
uint32_t pod_address(unsigned pod);

/// Returns the address of the service in front of a pod.
uint32_t service_address(unsigned pod);

/// Returns the port that a pod's server listens on.
uint16_t server_port(unsigned pod);

/// A cloud's block: its first address and its prefix length in bits.
struct range {
    uint32_t base;
    unsigned length;
};
struct range cloud_range(unsigned number);

#endif
