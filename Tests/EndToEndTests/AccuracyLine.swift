// SPDX-License-Identifier: Apache-2.0

import Testing

/// Prints the traffic of a workload and its outcome, as a line for docs/accuracy.md: `make test | grep ^accuracy`.
///
/// - Parameters:
///   - truth: Bytes that the node's firewall counted.
///   - reported: Bytes that a server received.
///   - lost: Bytes in named loss counters.
func printAccuracy(truth: UInt64, reported: UInt64, lost: UInt64 = 0) {
    let name = Test.current.map { $0.displayName ?? $0.name } ?? ""
    let difference = Int64(bitPattern: reported &+ lost &- truth)
    print("accuracy: workload=\"\(name)\" truth=\(truth) reported=\(reported) lost=\(lost) difference=\(difference)")
}
