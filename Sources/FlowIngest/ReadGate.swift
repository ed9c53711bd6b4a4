// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Stops and resumes reading from all agents at once. While nothing is read, TCP pushes back and agents keep their
/// batches; kernels go on counting.
final class ReadGate: Sendable {
    private let isShut = Atomic(false)
    private let isLocked = Atomic(false)

    var isOpen: Bool { !isShut.load(ordering: .acquiring) && !isLocked.load(ordering: .acquiring) }

    /// Shuts the gate for good.
    func lock() { isLocked.store(true, ordering: .releasing) }

    /// Changes the state; true where it was the other before.
    func set(open: Bool) -> Bool { isShut.exchange(!open, ordering: .acquiringAndReleasing) == open }
}
