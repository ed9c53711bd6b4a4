// SPDX-License-Identifier: Apache-2.0

import LogLimits

/// Admits a line once a minute, and makes lines of the counts of its repetitions meanwhile.
struct LogRepeats {
    private var limit = LogLimit<LogLine>(per: .seconds(60))
    private var nextSweep: ContinuousClock.Instant?

    /// Returns the lines to write when this line comes: the counts of lines whose minute is over, then the line itself
    /// unless it is a repetition. A count is the line with a field `repeated`.
    mutating func admit(_ line: LogLine, at now: ContinuousClock.Instant) -> [LogLine] {
        var ended: [(kind: LogLine, suppressed: UInt64)] = []
        // Once a second is enough, and costs little however many lines come.
        if nextSweep.map({ $0 <= now }) ?? true {
            nextSweep = now + .seconds(1)
            ended = limit.takeEnded(at: now)
        }
        if !limit.hasRoom(for: line) { ended += limit.takeAll() }
        let due = ended.map { Self.count(of: $0.kind, $0.suppressed) }
        guard let repeats = limit.admit(line, at: now) else { return due }
        return due + (repeats > 0 ? [Self.count(of: line, repeats)] : []) + [line]
    }

    private static func count(of line: LogLine, _ repeats: UInt64) -> LogLine {
        var line = line
        line.metadata.append(LogLine.Field(name: "repeated", value: "\(repeats)"))
        return line
    }
}
