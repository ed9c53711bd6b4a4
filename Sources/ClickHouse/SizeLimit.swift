// SPDX-License-Identifier: Apache-2.0

/// The limit on bodies of a proxy in front of ClickHouse, as observed from rejections. Larger bodies are split without
/// being sent, until a probe, one at a time, shows that the limit was raised.
struct SizeLimit: Sendable {
    enum Admission {
        case send
        /// The body is sent although it will be rejected unless the limit was raised.
        case probe
        case split
    }

    /// The size in bytes of the smallest rejected body; nil if there is none.
    private var refused: Int?
    /// The time at which a larger body may be sent; nil while one is in flight.
    private var nextProbe: ContinuousClock.Instant?

    /// Decides whether a body is sent whole. A probe must end with ``endProbe(next:)``.
    mutating func admit(_ bytes: Int, at now: ContinuousClock.Instant = .now) -> Admission {
        guard let refused, bytes >= refused else { return .send }
        guard let nextProbe, nextProbe <= now else { return .split }
        self.nextProbe = nil
        return .probe
    }

    mutating func endProbe(next: ContinuousClock.Instant) { nextProbe = next }

    mutating func noteRefusal(of bytes: Int, nextProbe: ContinuousClock.Instant) {
        if refused == nil { self.nextProbe = nextProbe }
        refused = min(bytes, refused ?? bytes)
    }

    /// Records a stored body. One above the limit shows that it was raised; the new limit is unknown.
    mutating func noteSuccess(of bytes: Int) {
        if let refused, bytes >= refused { self.refused = nil }
    }
}
