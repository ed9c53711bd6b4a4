// SPDX-License-Identifier: Apache-2.0

import CProbe
import Dispatch
import FlowModel
import Foundation
import Labeling
import Synchronization
import SyntheticCluster

/// Measures how long lookups wait for changes: of single pods, and of all pods at once.
struct Blocking {
    private static let rate = 500
    private static let seconds = 10

    private let cluster: LabeledCluster
    private let reference = Reference()

    init(_ model: SyntheticCluster) { cluster = LabeledCluster(model) }

    func run() {
        var generations: [Int: Int] = [:]
        measure("growth") {
            // From the first pod on, every table grows to its full size one change at a time.
            let index = ClusterIndex(site: LabeledCluster.site)
            let store = index.podStore()
            store.beginReplacement()
            store.commitReplacement()
            for number in 0..<cluster.model.podCount { store.apply([.updated(cluster.model.pod(number))]) }
        }
        measure("replayed") { churn(50_000, from: 0, &generations) }
        withReader {
            measure("churn") {
                let start = DispatchTime.now().uptimeNanoseconds
                for number in 0..<Self.rate * Self.seconds {
                    let due = start + UInt64(number) * 1_000_000_000 / UInt64(Self.rate)
                    let now = DispatchTime.now().uptimeNanoseconds
                    if due > now { usleep(UInt32((due - now) / 1_000)) }
                    churn(1, from: 50_000 + number, &generations)
                }
            }
            measure("relist") { cluster.listPods() }
            measure("relist_all_new") {
                cluster.pods.beginReplacement()
                for number in 0..<cluster.model.podCount {
                    cluster.pods.add(cluster.model.pod(number, generation: 1_000))
                }
                cluster.pods.commitReplacement()
            }
        }
    }

    /// Applies changes: of five, four alter nothing that labels depend on, and one replaces a pod by another.
    private func churn(_ count: Int, from first: Int, _ generations: inout [Int: Int]) {
        for change in first..<first + count {
            let number = change * 7_919 % cluster.model.podCount
            let generation = generations[number, default: 0]
            let pod = cluster.model.pod(number, generation: generation)
            if change % 5 == 0 {
                generations[number] = generation + 1
                cluster.pods.apply([.deleted(pod)])
                cluster.pods.apply([.updated(cluster.model.pod(number, generation: generation + 1))])
            } else {
                cluster.pods.apply([.updated(pod)])
            }
        }
    }

    private func measure(_ name: String, _ body: () -> Void) {
        probe_reset_locks()
        let before = probe_thread_cpu()
        body()
        let cpu = Double(probe_thread_cpu() - before) / 1e9
        let locks = probe_locks()
        let lookUp = median((0..<9).map { _ in reference.nanoseconds(lookUps: 1 << 14) })
        func milliseconds(_ nanoseconds: UInt64) -> String { rounded(Double(nanoseconds) / 1e6, 3) }
        say(
            "BENCH labels.blocking.\(name) max_locked_cpu_ms=\(milliseconds(locks.longest_write_cpu))",
            "max_locked_wall_ms=\(milliseconds(locks.longest_write_wall))",
            "max_wait_wall_ms=\(milliseconds(locks.longest_read_wait_wall))",
            "writes=\(locks.writes) cpu_s=\(rounded(cpu, 2))",
            "max_locked_lookups=\(rounded(Double(locks.longest_write_cpu) / lookUp, 0))")
    }

    /// Runs `body` while another thread keeps looking up addresses, those of 64 flows at a time.
    private func withReader(_ body: () -> Void) {
        let isDone = Flag()
        let ended = DispatchSemaphore(value: 0)
        let labeler = cluster.labeler
        let flows = FlowMix(cluster.model, publicAddresses: []).flows(4_096)
        let thread = Thread {
            var start = 0
            while !isDone.isSet {
                labeler.read(observedOn: "", at: SyntheticCluster.beginning + 1_000) { reader in
                    for flow in flows[start..<start + 64] { _ = reader.label(flow.flow) }
                }
                start = (start + 64) % flows.count
                usleep(200)
            }
            ended.signal()
        }
        thread.start()
        body()
        isDone.set()
        ended.wait()
    }
}

/// A flag that one thread sets and another reads.
private final class Flag: Sendable {
    private let storage = Atomic(false)

    var isSet: Bool { storage.load(ordering: .relaxed) }

    func set() { storage.store(true, ordering: .relaxed) }
}
