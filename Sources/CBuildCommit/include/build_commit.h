// SPDX-License-Identifier: Apache-2.0

#pragma once

/// The commit that this program was built from, or an empty string where the build was not told.
extern const char *const kubenetmon_build_commit;
