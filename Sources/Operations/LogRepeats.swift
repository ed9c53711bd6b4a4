// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Lets a line through once a minute and counts how often it was said meanwhile.
struct LogRepeats {
    /// For how many seconds the same line is not said again.
    static let period = 60
    /// The most lines that are remembered.
    static let maximumCount = 256

    private struct Said {
        let second: Int
        var repeats = 0
    }

    private var said: [LogLine: Said] = [:]
    private var nextSweep = 0

    /// How many lines are remembered.
    var count: Int { said.count }

    /// What there is to say now that this line comes: the counts of lines whose minute is over, and the line itself where
    /// it is not a repetition. A count is the line with a field `repeated`.
    mutating func admit(_ line: LogLine, at time: WallTime) -> [LogLine] {
        var due = sweep(time.seconds)
        if said[line] != nil {
            said[line]?.repeats += 1
            return due
        }
        if said.count >= Self.maximumCount { due += forget { _ in true } }
        said[line] = Said(second: time.seconds)
        return due + [line]
    }

    private mutating func sweep(_ second: Int) -> [LogLine] {
        // A clock that is set back must not silence anybody for long.
        guard second >= nextSweep || second < nextSweep.clampedSubtracting(Self.period) else { return [] }
        nextSweep = second.clampedAdding(1)
        return forget { second.clampedSubtracting($0.second) >= Self.period || second < $0.second }
    }

    private mutating func forget(_ isOver: (Said) -> Bool) -> [LogLine] {
        var counts: [(second: Int, line: LogLine)] = []
        for (line, said) in said where isOver(said) {
            self.said[line] = nil
            guard said.repeats > 0 else { continue }
            var line = line
            line.metadata.append(LogLine.Field(name: "repeated", value: "\(said.repeats)"))
            counts.append((said.second, line))
        }
        return counts.sorted { $0.second < $1.second }.map(\.line)
    }
}
