// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
import Synchronization

/// Who sent the most in the present minute and in the one before, by the time at which blocks were full.
public struct TalkerMinutes: Sendable {
    private(set) var minute = 0
    private(set) var present = Talkers()
    private(set) var last = Talkers()

    /// Adds a block's flows to the present minute, whose number is given in minutes since the Unix epoch.
    mutating func add(_ block: FlowBlock, in minute: Int) {
        advance(to: minute)
        present.add(block)
    }

    /// Begins a minute, unless it has begun. Clocks that are set back begin none.
    mutating func advance(to minute: Int) {
        guard minute > self.minute else { return }
        last = minute == self.minute &+ 1 ? present : Talkers()
        present = Talkers()
        self.minute = minute
    }
}

/// Who sends the most, of all event loops together.
public final class TopTalkers: Sendable {
    /// What one event loop adds to it. Nobody waits for another's lock but the page.
    public final class Part: Sendable {
        fileprivate let minutes = Mutex(TalkerMinutes())

        func add(_ block: FlowBlock) { minutes.withLock { $0.add(block, in: time(nil) / Int(FlowInterval.seconds)) } }
    }

    private let parts = Mutex<[Part]>([])

    /// Makes a summary of no parts.
    public init() {}

    /// Adds a part for one event loop.
    public func makePart() -> Part {
        let part = Part()
        parts.withLock { $0.append(part) }
        return part
    }

    /// Each event loop's minutes.
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
