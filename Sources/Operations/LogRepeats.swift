// SPDX-License-Identifier: Apache-2.0

import FlowModel

/// Admits a line once a minute and counts its repetitions meanwhile.
struct LogRepeats {
    /// Period in seconds during which repetitions of a line are suppressed.
    static let period = 60
    /// Maximum number of remembered lines.
    static let maximumCount = 256

    private struct Said {
        let second: Int
        var repeats = 0
    }

    private var said: [LogLine: Said] = [:]
    private var nextSweep = 0

    /// The number of remembered lines.
    var count: Int { said.count }

    /// Returns the lines to write when this line comes: the counts of lines whose minute is over, then the line itself
    /// unless it is a repetition. A count is the line with a field `repeated`.
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
        // If the clock is set back, lines must not stay suppressed for long.
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
