// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing
import Threads

@Suite struct PollInterruptionTests {
    @Test("a wait ends when a descriptor can be read, at its limit, or for good with an interruption")
    func waits() async throws {
        let interruption = try #require(PollInterruption())
        var ends: [CInt] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(!interruption.wait(for: [ends[0]], milliseconds: 1))
        #expect(write(ends[1], [1], 1) == 1)
        #expect(!interruption.wait(for: [ends[0]], milliseconds: -1))
        let thread = OwnedThread(name: "test")
        async let isInterrupted = thread.run { interruption.wait(for: [], milliseconds: -1) }
        interruption.interrupt()
        #expect(try await isInterrupted)
        // More interruptions than a socket's buffer holds do not block.
        for _ in 0..<100_000 { interruption.interrupt() }
        #expect(interruption.wait(for: [ends[0]], milliseconds: -1))
    }
}
