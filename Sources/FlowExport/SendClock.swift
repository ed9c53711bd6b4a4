// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire

/// The send times of one connection's messages.
///
/// They advance with the time since boot, plus any step of the clock, which is also sent beside them. A server that
/// receives them can tell a step from a message that was long in transit.
struct SendClock {
    /// Differences up to this many milliseconds are no step: two clocks are not read in the same instant.
    static let tolerance: Int64 = 250

    /// ``ClockReading/wallLead`` when the connection was opened.
    private let base: Int64

    /// Begins a connection.
    init(_ reading: ClockReading) { base = reading.wallLead }

    /// Returns the time of a message that is sent now; nil if the clock is before 1970.
    ///
    /// - Parameters:
    ///   - now: The present reading of the clocks.
    ///   - wallLead: For a batch, ``ExportBatch/wallLead``: the time less that of the observation is then the batch's
    ///     age, even if the clock has been set since. Nil for the present one.
    func time(_ now: ClockReading, wallLead: Int64? = nil) -> SendTime? {
        let step = (wallLead ?? now.wallLead) - base
        let clockSet = step.magnitude <= UInt64(Self.tolerance) ? 0 : step
        return SendTime(
            milliseconds: now.bootMilliseconds + base + clockSet, clockSetMilliseconds: clockSet)
    }
}
