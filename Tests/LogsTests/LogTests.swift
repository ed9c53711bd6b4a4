// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Synchronization
import Testing

@testable import Logs

/// Collects the lines of a log whose clock the test sets.
private final class Written: Sendable {
    let lines = Mutex<[String]>([])
    /// The time that lines carry, and the seconds since the start.
    let second = Mutex(0)
    let uptime = Mutex(0)
    private let start = ContinuousClock.now

    func log(isJSON: Bool, level: Logger.Level = .info) -> DaemonLog {
        DaemonLog(
            level: level, isJSON: isJSON, now: { .seconds(self.second.withLock { $0 }) + .milliseconds(7) },
            uptime: { self.start + .seconds(self.uptime.withLock { $0 }) },
            write: { line in self.lines.withLock { $0.append(line) } })
    }

    /// Returns the lines written since the previous call.
    func take() -> [String] {
        lines.withLock { lines in
            defer { lines = [] }
            return lines
        }
    }
}

@Suite struct LogTests {
    @Test("a line is a JSON object") func aLineIsAJSONObject() throws {
        let written = Written()
        var logger = written.log(isJSON: true).makeLogger("daemon")
        logger[metadataKey: "node"] = "node-a"
        logger.warning("it \"failed\"\n", metadata: ["error": "a\tb\\", "node": "node-b"])
        logger.info("plain")
        let lines = written.take()
        #expect(lines.allSatisfy { $0.hasSuffix("}\n") && $0.filter { $0 == "\n" }.count == 1 })
        struct Line: Decodable, Equatable {
            var time: String
            var level: String
            var logger: String
            var message: String
            var metadata: [String: String]?
        }
        #expect(
            try lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) } == [
                Line(
                    time: "1970-01-01T00:00:00.007Z", level: "warning", logger: "daemon", message: "it \"failed\"\n",
                    metadata: ["error": "a\tb\\", "node": "node-b"]),
                Line(
                    time: "1970-01-01T00:00:00.007Z", level: "info", logger: "daemon", message: "plain",
                    metadata: ["node": "node-a"]),
            ])
    }

    @Test("a line in text format contains no line breaks") func aLineForPeopleIsOneLine() {
        let written = Written()
        written.second.withLock { $0 = 1_738_324_800 }
        written.log(isJSON: false).makeLogger("daemon").error("no\nluck", metadata: ["b": "2", "a": "1\r"])
        #expect(written.take() == ["2025-01-31T12:00:00.007Z error daemon: no luck a=1  b=2\n"])
    }

    @Test(
        "of equal metadata keys, the line's own win over the provider's, and those over the logger's"
    )
    func sourcesOfMetadata() {
        struct Failure: Error, CustomStringConvertible { let description = "no luck" }
        let written = Written()
        var handler = written.log(isJSON: false).makeLogger("daemon").handler
        handler.metadata = ["a": "logger", "b": "logger", "c": "logger", "error": "logger"]
        handler.metadataProvider = Logger.MetadataProvider { ["b": "provider", "c": "provider", "error": "provider"] }
        let logger = Logger(label: "daemon") { _ in handler }
        logger.info("1")
        logger.info("2", error: Failure(), metadata: ["c": "own", "error": "own"])
        #expect(
            written.take().map { $0.split(separator: "daemon: ").last } == [
                "1 a=logger b=provider c=provider error=provider\n", "2 a=logger b=provider c=own error=no luck\n",
            ])
    }

    @Test("a changed level applies to existing loggers") func theLevelChangesForLoggersThatExist() {
        let written = Written()
        let log = written.log(isJSON: false)
        let logger = log.makeLogger("daemon")
        var own = log.makeLogger("own")
        own.logLevel = .error
        logger.debug("1")
        log.level = .debug
        logger.debug("2")
        own.warning("3")
        log.level = .error
        logger.warning("4")
        #expect(written.take().map { $0.suffix(4) } == [": 2\n"])
    }

    @Test("a repeated line is written once a minute, with its count")
    func whatIsSaidOverAndOverIsSaidOnceAMinuteWithItsCount() {
        let written = Written()
        let logger = written.log(isJSON: false).makeLogger("daemon")
        func say(_ message: String, at second: Int, _ metadata: Logger.Metadata = [:]) -> [String] {
            written.uptime.withLock { $0 = second }
            logger.info("\(message)", metadata: metadata)
            return written.take().map { String($0.split(separator: "daemon: ")[1].dropLast()) }
        }
        #expect(say("a", at: 100) == ["a"])
        #expect(say("a", at: 101) == [])
        #expect(say("a", at: 102, ["n": "1"]) == ["a n=1"])
        #expect(say("a", at: 159) == [])
        #expect(say("b", at: 159) == ["b"])
        // Another line after the minute also triggers the count.
        #expect(say("c", at: 160) == ["a repeated=2", "c"])
        #expect(say("a", at: 161) == ["a"])
        #expect(say("a", at: 300) == ["a"])
        // A clock that is set back suppresses no line for longer.
        written.second.withLock { $0 = -1_000 }
        #expect(say("a", at: 359) == [])
        #expect(say("a", at: 360) == ["a repeated=1", "a"])
    }

    @Test("a repetition within a second after the minute is written with its count") func repetitionAfterTheMinute() {
        var repeats = LogRepeats()
        let start = ContinuousClock.now
        func say(_ message: String, at seconds: Double) -> [String] {
            let line = LogLine(level: .info, label: "l", message: message, metadata: [])
            return repeats.admit(line, at: start + .seconds(seconds))
                .map { ([$0.message] + $0.metadata.map(\.value)).joined(separator: " ") }
        }
        #expect(say("a", at: 0) == ["a"])
        #expect(say("a", at: 1) == [])
        #expect(say("b", at: 59.9) == ["b"])
        #expect(say("a", at: 60) == ["a 1", "a"])
    }

    @Test("counts are written when more lines come than are remembered") func countsOfForgottenLines() {
        var repeats = LogRepeats()
        let now = ContinuousClock.now
        func say(_ number: Int) -> [LogLine] {
            repeats.admit(LogLine(level: .info, label: "l", message: "\(number)", metadata: []), at: now)
        }
        var said = say(0) + say(0)
        for number in 1..<10_000 { said += say(number) }
        #expect(said.count == 10_001)
        #expect(said.filter { !$0.metadata.isEmpty }.map(\.message) == ["0"])
    }
}
