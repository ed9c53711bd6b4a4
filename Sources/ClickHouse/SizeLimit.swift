// SPDX-License-Identifier: Apache-2.0

/// The limit on bodies of a proxy in front of ClickHouse, as far as refusals have shown it. Larger bodies are split without
/// being sent, until a probe, one at a time, finds that the limit was raised.
struct SizeLimit: Sendable {
    enum Admission {
        case send
        /// It is refused, unless the limit was raised.
        case probe
        case split
    }

    /// The smallest body that was refused; nil where none was.
    private var refused: Int?
    /// When a larger body may go out; nil while one is on its way.
    private var nextProbe: ContinuousClock.Instant?

    /// Decides whether a body goes out as it is. A probe must end with ``endProbe(next:)``.
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

    /// A body that is accepted beyond the limit shows that it was raised; how far is unknown.
    mutating func noteSuccess(of bytes: Int) {
        if let refused, bytes >= refused { self.refused = nil }
    }
}
