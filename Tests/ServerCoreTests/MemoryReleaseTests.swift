// SPDX-License-Identifier: Apache-2.0

import Testing

import ServerCore

@Suite struct MemoryReleaseTests {
    private let start = ContinuousClock.now

    @Test("memory is released while usage exceeds the usual one, and not otherwise")
    func peak() {
        var usage = MemoryUsage()
        let megabytes = [30, 33, 31, 180, 110, 60, 40, 36, 31, 33, 35]
        let isReleased = megabytes.enumerated().map { usage.note($1 << 20, at: start + .seconds(60 * $0)) }
        #expect(isReleased == [false, false, false, true, true, true, true, false, false, false, false])
    }

    @Test("higher usage is the usual one after two hours")
    func growth() {
        var usage = MemoryUsage()
        let released = (0..<300).filter { minute in
            usage.note(minute < 10 ? 30 << 20 : 150 << 20, at: start + .seconds(60 * minute))
        }
        #expect(released.first == 10 && (60...120).contains(released.count))
        #expect(released == Array(10..<10 + released.count))
    }

    @Test("no memory is released if the kernel does not report usage")
    func unknown() {
        var usage = MemoryUsage()
        let released = (0..<5).count { usage.note(0, at: start + .seconds(60 * $0)) }
        #expect(released == 0)
    }
}
