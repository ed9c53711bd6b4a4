// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import TestSupport
import Testing

@testable import FlowIngest

@Suite struct AgentClockTests {
    /// A node and a server whose clocks a test sets, and what the server estimates.
    private struct Clocks {
        /// The server's clocks; the node has been up for ten days longer.
        var server = ClockReading(wallMilliseconds: 1_772_366_400_000, bootMilliseconds: 5_000_000)
        /// How far the node's clock is ahead of the server's.
        var lead: Int64
        /// How far the node's clock was set since the connection was opened.
        var set: Int64 = 0
        var estimate = AgentClock()

        init(lead: Int64) { self.lead = lead }

        mutating func pass(_ milliseconds: Int64) {
            server.wallMilliseconds += milliseconds
            server.bootMilliseconds += milliseconds
        }

        mutating func setNode(by step: Int64) {
            lead += step
            set += step
        }

        /// The time of a message that the node sends now.
        var sendTime: SendTime? {
            SendTime(milliseconds: server.wallMilliseconds + lead, clockSetMilliseconds: set)
        }

        /// Sends a message that arrives after a delay.
        mutating func send(delay: Int64 = 20, mayHaveWaited: Bool = false) throws {
            let time = try #require(sendTime)
            pass(delay)
            estimate.record(time, at: server, mayHaveWaited: mayHaveWaited)
        }

        /// Returns how far the corrected time of an observation made `age` ago is ahead of the true one.
        func error(age: Int64 = 5_000) throws -> Int64 {
            let observed = UInt64(server.wallMilliseconds + lead - age)
            let corrected = estimate.observation(observed, sentAt: try #require(sendTime), now: server)
            return Int64(corrected) - (server.wallMilliseconds - age)
        }
    }

    @Test("without a time of sending, the difference is unknown and observation times stay")
    func unknown() throws {
        let clock = AgentClock()
        let now = ClockReading(wallMilliseconds: 1_000_000, bootMilliseconds: 5)
        #expect(clock.lead(at: now) == nil)
        let time = try #require(SendTime(milliseconds: 1_000))
        #expect(clock.observation(77, sentAt: time, now: now) == 77)
    }

    @Test(
        "a clock that differs by at most a second is not corrected",
        arguments: [-980, -100, 0, 500, 1_000] as [Int64])
    func small(_ lead: Int64) throws {
        var clocks = Clocks(lead: lead)
        try clocks.send()
        let observed = UInt64(clocks.server.wallMilliseconds + lead)
        let time = try #require(clocks.sendTime)
        #expect(clocks.estimate.observation(observed, sentAt: time, now: clocks.server) == observed)
    }

    @Test(
        "a greater difference is taken out of observation times, which are never in the future",
        arguments: [-90_000, 300_000, -1_100, 1_500, -1_700_000_000_000, 3_000_000_000_000] as [Int64])
    func great(_ lead: Int64) throws {
        var clocks = Clocks(lead: lead)
        for _ in 0..<3 {
            try clocks.send()
            #expect(try (0...20).contains(clocks.error()))
            #expect(try (-20...0).contains(clocks.error(age: -10)))
            let known = try #require(clocks.estimate.lead(at: clocks.server))
            #expect((lead - 20...lead).contains(known))
            clocks.pass(60_000)
        }
        #expect(clocks.estimate.isConfirmed)
    }

    @Test("a difference is confirmed by messages of two minutes")
    func confirmation() throws {
        var clocks = Clocks(lead: 0)
        try clocks.send(delay: 1_500)
        #expect(!clocks.estimate.isConfirmed)
        clocks.pass(60_000)
        try clocks.send()
        #expect(clocks.estimate.isConfirmed)
        #expect(try #require(clocks.estimate.lead(at: clocks.server)) == -20)
    }

    @Test("messages that waited for the server are not taken for a difference of clocks")
    func backlog() throws {
        var clocks = Clocks(lead: 40)
        try clocks.send()
        clocks.pass(60_000)
        try clocks.send()
        // The server reads nothing for 20 minutes, then everything at once.
        let sent = try (0..<20).map { _ in
            clocks.pass(60_000)
            return try #require(clocks.sendTime)
        }
        clocks.pass(20)
        for time in sent {
            clocks.estimate.record(time, at: clocks.server, mayHaveWaited: true)
            #expect(try #require(clocks.estimate.lead(at: clocks.server)) == 20)
        }
        clocks.pass(60_000)
        try clocks.send()
        #expect(try #require(clocks.estimate.lead(at: clocks.server)) == 20)
    }

    @Test("the first messages say nothing if they may have waited")
    func backlogAtTheBeginning() throws {
        var clocks = Clocks(lead: 0)
        try clocks.send(delay: 240_000, mayHaveWaited: true)
        #expect(clocks.estimate.lead(at: clocks.server) == nil)
        clocks.pass(60_000)
        try clocks.send()
        #expect(clocks.estimate.lead(at: clocks.server) == -20)
    }

    @Test("a batch that was delayed less than the heartbeats lowers the estimate")
    func batches() throws {
        var clocks = Clocks(lead: -90_000)
        try clocks.send(delay: 4_000)
        #expect(clocks.estimate.lead(at: clocks.server) == -94_000)
        try clocks.send(delay: 10, mayHaveWaited: true)
        #expect(clocks.estimate.lead(at: clocks.server) == -90_010)
        try clocks.send(delay: 30_000, mayHaveWaited: true)
        #expect(clocks.estimate.lead(at: clocks.server) == -90_010)
    }

    @Test("a step of the node's clock is known with the next message, and batches of before are corrected as before")
    func steps() throws {
        var clocks = Clocks(lead: -90_000)
        try clocks.send()
        clocks.pass(60_000)
        // Observed before the step, sent after it: the time of sending is by the clock of the observation.
        let (before, time) = (UInt64(clocks.server.wallMilliseconds - 90_000), try #require(clocks.sendTime))
        let truth = clocks.server.wallMilliseconds
        clocks.setNode(by: 90_000)
        clocks.pass(5_000)
        let late = try #require(SendTime(milliseconds: time.milliseconds + 5_000))
        let corrected = Int64(clocks.estimate.observation(before, sentAt: late, now: clocks.server))
        #expect((0...20).contains(corrected - truth))
        // Observed after the step: nothing is to be corrected, although no heartbeat has come since.
        #expect(try clocks.error() == 0)
        try clocks.send()
        #expect(try (-20...0).contains(#require(clocks.estimate.lead(at: clocks.server))))
        clocks.setNode(by: -300_000)
        #expect(try (0...20).contains(clocks.error()))
    }

    @Test("a step of the server's clock is known at once")
    func serverSteps() throws {
        var clocks = Clocks(lead: 0)
        try clocks.send()
        clocks.server.wallMilliseconds += 120_000
        clocks.lead -= 120_000
        #expect(try (0...20).contains(clocks.error()))
    }

    @Test("clocks that drift apart are followed")
    func drift() throws {
        var clocks = Clocks(lead: 0)
        for _ in 0..<600 {
            try clocks.send()
            // 0.5 ms a second, as much as a clock is slewed by.
            clocks.pass(60_000)
            clocks.lead -= 30
            let known = try #require(clocks.estimate.lead(at: clocks.server))
            #expect((clocks.lead - 20...clocks.lead + 330).contains(known))
        }
    }

    @Test("a stall of the server is not taken for a difference of clocks")
    func stall() throws {
        var clocks = Clocks(lead: 0)
        try clocks.send()
        clocks.pass(60_000)
        try clocks.send()
        // Nothing has paused the reading: the whole server stood still for an hour.
        try clocks.send(delay: 3_600_000)
        #expect(try #require(clocks.estimate.lead(at: clocks.server)) == -20)
        clocks.pass(10_000)
        try clocks.send()
        #expect(try #require(clocks.estimate.lead(at: clocks.server)) == -20)
    }

    @Test(
        "with any delays, pauses and steps, the error is at most the least delay of the last minutes",
        arguments: 0..<20)
    func anything(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var clocks = Clocks(lead: .random(in: -400_000...400_000, using: &generator))
        var delays: [(minute: Int64, delay: Int64)] = []
        for round in 0..<300 {
            if Int.random(in: 0..<20, using: &generator) == 0 {
                clocks.setNode(by: .random(in: -200_000...200_000, using: &generator))
            }
            if Int.random(in: 0..<20, using: &generator) == 0 {
                let step = Int64.random(in: -200_000...200_000, using: &generator)
                clocks.server.wallMilliseconds += step
                clocks.lead -= step
            }
            let mayHaveWaited = round > 0 && Int.random(in: 0..<4, using: &generator) == 0
            let delay = Int64.random(in: 0...[5, 200, mayHaveWaited ? 400_000 : 900][round % 3], using: &generator)
            try clocks.send(delay: delay, mayHaveWaited: mayHaveWaited)
            let minute = clocks.server.bootMilliseconds / 60_000
            let least = delays.map(\.delay).min() ?? .max
            if !mayHaveWaited || delay < least {
                if delays.last?.minute == minute {
                    delays[delays.count - 1].delay = min(delays[delays.count - 1].delay, delay)
                } else {
                    delays.append((minute, delay))
                }
                while delays.count > 3, minute - delays[0].minute >= 10 { delays.removeFirst() }
            }
            let bound = try #require(delays.map(\.delay).min())
            let known = try #require(clocks.estimate.lead(at: clocks.server))
            // A message that waited may have been sent before a step: only what was just sent tells the present lead.
            if !mayHaveWaited { #expect((clocks.lead - bound...clocks.lead).contains(known)) }
            for age: Int64 in [0, 5_000, 3_600_000] {
                let error = try clocks.error(age: age)
                #expect((-1_000...bound + 1_000).contains(error))
                #expect(error <= age || abs(clocks.lead) <= 1_000 + bound)
            }
            clocks.pass(.random(in: 0...90_000, using: &generator))
        }
    }
}
