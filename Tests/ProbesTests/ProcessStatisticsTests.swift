// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Glibc
import TestSupport
import Testing

@testable import Operations
@testable import Probes

@Suite struct ProcessStatisticsTests {
    @Test("descriptors, memory and CPU time of the process are as the kernel reports")
    func whatTheProcessTakesIsWhatTheKernelSays() throws {
        let before = ProcessStatistics()
        let descriptors = (0..<500).map { _ in open("/dev/null", O_RDONLY | O_CLOEXEC) }
        defer { for descriptor in descriptors { close(descriptor) } }
        let bytes = 64 << 20
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: bytes)
        let after = ProcessStatistics()

        // Other tests run in the same process and release descriptors and memory meanwhile.
        #expect(after.openDescriptors > 500 && after.openDescriptors <= after.maximumDescriptors)
        #expect(after.residentBytes >= bytes && after.virtualBytes >= after.residentBytes)
        #expect(after.cpuSeconds > before.cpuSeconds && before.cpuSeconds > 0)
        let age = WallClock.now().seconds - ProcessStatistics.startTime
        #expect(age > -1 && age < 86_400)
    }

    @Test("the page has the process metrics and the release") func everyDaemonTellsOfItself() {
        var page = MetricsPage()
        page.add(ProcessStatistics())
        let text = MetricsText(page.text)
        #expect(text.problems == [])
        #expect(text.samples["kubenetmon_build_info{version=\"\(Daemon.version)\"}"] == 1)
        for name in [
            "process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes",
            "process_open_fds", "process_max_fds", "process_start_time_seconds",
        ] {
            #expect(text.samples[name] ?? 0 > 0, "\(name)")
        }
    }
}
