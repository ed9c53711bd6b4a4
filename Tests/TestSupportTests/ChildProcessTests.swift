// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@Suite struct ChildProcessTests {
    /// Foundation reads beyond its buffer, and may end the tests, where a process with 1,365 descriptors starts another.
    @Test("no file of a child process that has ended stays open")
    func nothingStaysOpen() async throws {
        for _ in 0..<20 { try await ChildProcess.run(URL(filePath: "/bin/true")) }
        let files = FileManager.default
        // Those of programs that other tests have running are still there.
        let leftOpen = try files.contentsOfDirectory(atPath: "/proc/self/fd")
            .compactMap { try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
            .filter { $0.contains("/kubenetmon-") && $0.hasSuffix(".log (deleted)") }
        #expect(leftOpen.isEmpty)
    }
}
