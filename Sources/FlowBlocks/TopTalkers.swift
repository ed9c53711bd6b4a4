// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Synchronization

/// The top talkers of the present minute and of the one before. A flow belongs to the minute in which its block was
/// finished.
public struct TalkerMinutes: Sendable {
    private(set) var minute = 0
    private(set) var present = Talkers()
    private(set) var last = Talkers()

    /// Adds a block's flows to the present minute; `minute` is in minutes since the Unix epoch.
    mutating func add(_ block: FlowBlock, in minute: Int) {
        advance(to: minute)
        present.add(block)
    }

    /// Begins a minute, unless it has begun. A clock that is set back begins none.
    mutating func advance(to minute: Int) {
        guard minute > self.minute else { return }
        last = minute == self.minute &+ 1 ? present : Talkers()
        present = Talkers()
        self.minute = minute
    }
}

/// The top talkers of all event loops together.
public final class TopTalkers: Sendable {
    /// The part of one event loop. Event loops do not share a lock; only the status page takes all of them.
    public final class Part: Sendable {
        fileprivate let minutes = Mutex(TalkerMinutes())

        func add(_ block: FlowBlock) {
            minutes.withLock { $0.add(block, in: Int(WallClock.seconds() / FlowInterval.seconds)) }
        }
    }

    private let parts = Mutex<[Part]>([])

    /// Makes a summary without parts.
    public init() {}

    /// Adds a part for one event loop.
    public func makePart() -> Part {
        let part = Part()
        parts.withLock { $0.append(part) }
        return part
    }

    /// Returns the minutes of each event loop.
    ///
    /// - Parameter minute: The present minute, in minutes since the Unix epoch.
    public func minutes(at minute: Int) -> [TalkerMinutes] {
        parts.withLock { $0 }.map { part in
            part.minutes.withLock { minutes in
                minutes.advance(to: minute)
                return minutes
            }
        }
    }
}
