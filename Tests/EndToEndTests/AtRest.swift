// SPDX-License-Identifier: Apache-2.0

import TestSupport

/// Waits until a count of packets has not changed for a second, and returns it.
func atRest<Count: Equatable>(_ count: () async throws -> Count) async throws -> Count {
    var last = try await count()
    var unchanged = 0
    try await eventually("the number of connections is stable") {
        try await Task.sleep(for: .milliseconds(333))
        let now = try await count()
        unchanged = now == last ? unchanged + 1 : 0
        last = now
        return unchanged == 3
    }
    return last
}
