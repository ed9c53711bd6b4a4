// SPDX-License-Identifier: Apache-2.0
#include "cluster.h"

#include <stdio.h>

static const uint8_t first_octets[FIRST_OCTETS] = {3, 13, 18, 20, 34, 35, 40, 52};
static const uint16_t ports[] = {443, 80, 8080, 5432, 6379, 9092, 3000, 53};

uint32_t pod_address(unsigned pod) {
    return 10u << 24 | 128u << 16 | (pod / PODS_PER_NODE) << 8 | (2 + pod % PODS_PER_NODE);
}

uint32_t service_address(unsigned pod) { return 10u << 24 | 96u << 16 | (pod % APPS + 1); }

uint16_t server_port(unsigned pod) { return ports[pod % APPS % (sizeof ports / sizeof *ports)]; }

// The last blocks are wide and contain most of the others.
struct range cloud_range(unsigned number) {
    uint32_t first = (uint32_t)first_octets[number % FIRST_OCTETS] << 24;
    if (number >= RANGES) return (struct range){first | ((number - RANGES) / FIRST_OCTETS) << 21, 11};
    unsigned position = number / FIRST_OCTETS;
    return (struct range){first | position << 15, 17 + position * 5 % 8};
}

static const char *dotted(uint32_t address) {
    static char text[16];
    snprintf(text, sizeof text, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return text;
}

void print_inventory(void) {
    static const char *const clouds[] = {"aws", "aws", "aws", "azure", "gcp", "gcp", "azure", "aws"};
    static const char *const services[] = {"amazon", "ec2", "s3", "cloudfront", "azurestorage", "azurecloud", "google"};
    puts("nodes:");
    for (unsigned node = 0; node < NODES; node++)
        printf("- {name: ip-172-16-0-%u.eu-central-1.compute.internal, addresses: [172.16.0.%u], zone: eu-central-1%c}\n",
               node + 1, node + 1, 'a' + node % 3);
    puts("pods:");
    for (unsigned pod = 0; pod < PODS; pod++) {
        unsigned app = pod % APPS;
        printf("- {namespace: team-%u, name: service-%u-%08x-%05x, ", app % 40, app, app * 2654435761u,
               pod * 40503u & 0xfffff);
        printf("node: ip-172-16-0-%u.eu-central-1.compute.internal, addresses: [%s], app: service-%u}\n",
               pod / PODS_PER_NODE + 1, dotted(pod_address(pod)), app);
    }
    puts("ranges:");
    for (unsigned number = 0; number < RANGES + WIDE_RANGES; number++) {
        struct range range = cloud_range(number);
        printf("- {name: block-%u, cidrs: [%s/%u], cloud: %s, region: %s%u, service: %s}\n", number, dotted(range.base),
               range.length, clouds[number % FIRST_OCTETS], number % 5 ? "region-" : "eu-central-", number / 16 % 30,
               services[number / 7 % (sizeof services / sizeof *services)]);
    }
}
