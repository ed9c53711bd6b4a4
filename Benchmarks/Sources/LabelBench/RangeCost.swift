// SPDX-License-Identifier: Apache-2.0

import CProbe
import CloudRanges
import ClusterModel
import Dispatch
import FlowModel
import Foundation
import Glibc
import Labeling
import Logging
import Synchronization

/// Measures the cost of reading the providers' lists and building a table from them.
struct RangeCost {
    let lists: String

    /// Returns all ranges of the lists.
    func load() -> [CloudRange] {
        let result = Mutex<[CloudRange]>([])
        read { ranges in result.withLock { $0 = ranges } }
        return result.withLock { $0 }
    }

    func run() {
        let labeler = Labeler(
            index: ClusterIndex(site: LabeledCluster.site),
            configuration: Labeler.Configuration())
        let count = Mutex(0)
        let (memoryBefore, cpuBefore) = (Memory(), probe_process_cpu())
        read { ranges in
            labeler.setRanges(ranges)
            count.withLock { $0 = ranges.count }
        }
        let cpu = Double(probe_process_cpu() - cpuBefore) / 1e9
        let memory = Memory()
        say(
            "BENCH labels.ranges cpu_s=\(rounded(cpu, 2)) mb=\(rounded(memory.resident - memoryBefore.resident, 1))",
            "peak_mb=\(rounded(memory.peak - memoryBefore.resident, 1))",
            "heap_mb=\(rounded(memory.heap - memoryBefore.heap, 1)) prefixes=\(count.withLock { $0 })")
        withExtendedLifetime(labeler) {}
    }

    /// Reads the lists as the server does, and calls `body` with their ranges.
    private func read(_ body: @escaping @Sendable ([CloudRange]) -> Void) {
        let files = RangeProvider.allCases.map { ($0, CloudRangeCatalog.Source.file("\(lists)/\($0.rawValue).json")) }
        let handedOver = DispatchSemaphore(value: 0)
        let catalog = CloudRangeCatalog(
            configuration: CloudRangeCatalog.Configuration(sources: Dictionary(uniqueKeysWithValues: files)),
            logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() })
        ) { ranges in
            body(ranges)
            handedOver.signal()
        }
        let thread = Thread { catalog.run() }
        thread.start()
        handedOver.wait()
        guard catalog.statistics.sources.allSatisfy({ $0.lastError == nil }) else {
            complain("\(catalog.statistics.sources.compactMap(\.lastError))")
        }
        catalog.stop()
    }
}

/// The memory of this process in MB.
struct Memory {
    let resident, peak, heap: Double

    init() {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        func field(_ name: String) -> Double {
            let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") }
            return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first).flatMap { Double($0) }.map {
                $0 / 1024
            }
                ?? 0
        }
        resident = field("VmRSS")
        peak = field("VmHWM")
        heap = Double(probe_heap_bytes()) / 1_048_576
    }
}
