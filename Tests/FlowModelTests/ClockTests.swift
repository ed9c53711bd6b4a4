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

    @Test("a thread's clock advances while the thread works, and not while it sleeps")
    func threadClock() {
        let start = ThreadClock.now()
        while ThreadClock.now() - start < .milliseconds(5) {}
        let worked = ThreadClock.now()
        usleep(200_000)
        #expect(ThreadClock.now() - worked < .milliseconds(100))
    }
}
