// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
import Testing

@Suite struct ClockTests {
    @Test("the wall clock returns the time of day")
    func wallClock() {
        let difference = WallClock.now() - .seconds(time(nil))
        #expect(difference > .seconds(-60) && difference < .seconds(60))
        #expect(abs(Int(WallClock.seconds()) - time(nil)) < 60)
    }

    @Test("a reading has the time of day and the time since boot, whose difference changes only when the clock is set")
    func reading() {
        let (first, second) = (ClockReading.now(), ClockReading.now())
        #expect(abs(first.wallMilliseconds / 1_000 - Int64(time(nil))) < 60)
        #expect(first.bootMilliseconds > 0 && second.bootMilliseconds >= first.bootMilliseconds)
        #expect(abs(second.wallLead - first.wallLead) < 10_000)
        let set = ClockReading(wallMilliseconds: 5_000, bootMilliseconds: 2_000)
        #expect(set.wallLead == 3_000)
    }

    @Test("a thread's clock advances while the thread works, and not while it sleeps")
    func threadClock() {
        let start = ThreadClock.now()
        while ThreadClock.now() - start < .milliseconds(5) {}
        let worked = ThreadClock.now()
        usleep(200_000)
        #expect(ThreadClock.now() - worked < .milliseconds(100))
    }
}
