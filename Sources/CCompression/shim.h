// SPDX-License-Identifier: Apache-2.0
// What ClickHouse's HTTP interface takes for `Content-Encoding: lz4` (the frame format) and `zstd`.
#pragma once

#include <lz4frame.h>
#include <zstd.h>
