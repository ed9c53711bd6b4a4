// SPDX-License-Identifier: Apache-2.0

import CProbe
import CReference

/// Look-ups in C in tables as large as the server's, whose time is the measure of the server's look-ups and changes.
///
/// Both depend on the machine, and on what else runs on it, in the same way.
final class Reference {
    private let tables = reference_make()

    /// Does look-ups and returns the CPU time of one in nanoseconds.
    func nanoseconds(lookUps: Int) -> Double {
        let before = probe_thread_cpu()
        _ = reference_look_up(tables, lookUps)
        return Double(probe_thread_cpu() - before) / Double(lookUps)
    }

    deinit { reference_free(tables) }
}

/// Returns the value in the middle.
func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
