// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Pauses and resumes reading from all agents at once. While nothing is read, TCP applies backpressure, agents keep
/// their batches, and the nodes' kernels go on counting.
final class ReadGate: Sendable {
    private let isShut = Atomic(false)
    private let isLocked = Atomic(false)

    var isOpen: Bool { !isShut.load(ordering: .acquiring) && !isLocked.load(ordering: .acquiring) }

    /// Closes the gate for good.
    func lock() { isLocked.store(true, ordering: .releasing) }

    /// Opens or closes the gate, and returns whether it was in the other state before.
    func set(open: Bool) -> Bool { isShut.exchange(!open, ordering: .acquiringAndReleasing) == open }
}
