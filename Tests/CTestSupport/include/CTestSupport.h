// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Puts the calling thread into a network namespace of its own (unshare(2)); 0, or -1 and `errno`.
int kubenetmon_unshare_network(void);

/// Drops the capabilities of the calling thread that override files' permissions (capabilities(7)); 0, or -1 and `errno`.
int kubenetmon_obey_file_permissions(void);
