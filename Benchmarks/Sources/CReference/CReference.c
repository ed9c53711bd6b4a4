// SPDX-License-Identifier: Apache-2.0

#include "CReference.h"

#include <stdlib.h>

enum {
    KEYS = 100000,
    HASH_PLACES = 1 << 18,
    SORTED = 1 << 17,
    RECORD_WORDS = 4,
};

struct reference {
    /// Of a key, at its hash or behind it: the key, and the number of its record. A key of 0 is an empty place.
    struct {
        uint32_t key, record;
    } places[HASH_PLACES];
    uint64_t records[KEYS][RECORD_WORDS];
    uint64_t sorted[SORTED];
};

// splitmix64, https://prng.di.unimi.it/splitmix64.c
static uint64_t mixed(uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

static uint64_t next(uint64_t *state) { return mixed(*state += 0x9e3779b97f4a7c15); }

static uint32_t key_of(uint32_t number) { return (uint32_t)mixed(number + 1) | 1; }

static size_t place_of(const struct reference *reference, uint32_t key) {
    size_t place = mixed(key) % HASH_PLACES;
    while (reference->places[place].key && reference->places[place].key != key) place = (place + 1) % HASH_PLACES;
    return place;
}

struct reference *reference_make(void) {
    struct reference *reference = calloc(1, sizeof *reference);
    if (!reference) abort();
    for (uint32_t number = 0; number < KEYS; number++) {
        size_t place = place_of(reference, key_of(number));
        reference->places[place].key = key_of(number);
        reference->places[place].record = number;
        for (unsigned word = 0; word < RECORD_WORDS; word++) reference->records[number][word] = mixed(number * 4 + word);
    }
    for (uint64_t number = 0; number < SORTED; number++) reference->sorted[number] = number << 47;
    return reference;
}

static uint64_t record_of(const struct reference *reference, uint32_t key) {
    const uint64_t *record = reference->records[reference->places[place_of(reference, key)].record];
    uint64_t found = 0;
    for (unsigned word = 0; word < RECORD_WORDS; word++) found = mixed(found ^ record[word]);
    return found;
}

static uint64_t search(const struct reference *reference, uint64_t value) {
    size_t low = 0;
    for (size_t half = SORTED / 2; half > 0; half /= 2)
        if (reference->sorted[low + half] <= value) low += half;
    return reference->sorted[low];
}

uint64_t reference_look_up(const struct reference *reference, size_t count) {
    uint64_t state = 1, found = 0;
    for (size_t number = 0; number < count; number++) {
        uint64_t random = next(&state);
        found ^= record_of(reference, key_of((uint32_t)(random % KEYS)));
        if (number % 10 < 3) found ^= search(reference, random ^ (found & 1));
        else found ^= record_of(reference, key_of((uint32_t)((random >> 32 ^ (found & 1)) % KEYS)));
    }
    return found;
}

void reference_free(struct reference *reference) { free(reference); }
