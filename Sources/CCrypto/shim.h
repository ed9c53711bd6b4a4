// SPDX-License-Identifier: Apache-2.0
// OpenSSL's hash functions; libcurl brings the library along.
#pragma once

#include <openssl/sha.h>
