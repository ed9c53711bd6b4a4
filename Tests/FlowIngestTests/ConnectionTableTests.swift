// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

@testable import FlowIngest

@Suite struct ConnectionTableTests {
    @Test("a source whose connections are closed has its whole limit again")
    func aSourceThatHasLeftHasAllItsRoomAgain() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 10, maximumPerSource: 2, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        for round in 0..<5 {
            #expect(try table.add(round * 2, 0, from: "a") == nil)
            #expect(try table.add(round * 2 + 1, 0, from: "a") == nil)
            #expect(table.note(unfinishedBytes: 90, of: round * 2) == [])
            #expect(throws: ConnectionError.self) { try table.add(100, 0, from: "a") }
            for id in [round * 2, round * 2 + 1, 100] { table.forget(id) }
        }
        #expect(table.count == 0)
    }

    @Test("above the limit of a source, the connection with the oldest unfinished frame is dropped")
    func theFrameThatWasBegunFirstGoes() throws {
        var table = ConnectionTable<Int, String>(
            maximum: 10, maximumPerSource: 10, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        for (id, source) in ["a", "a", "a", "b"].enumerated() { _ = try table.add(id, "\(id)", from: source) }
        #expect(table.note(unfinishedBytes: 50, of: 1) == [])
        #expect(table.note(unfinishedBytes: 10, of: 0) == [])
        #expect(table.note(unfinishedBytes: 100, of: 3) == [])
        #expect(table.note(unfinishedBytes: 41, of: 2) == ["1"])
        // Connection 1 is given up already.
        #expect(table.note(unfinishedBytes: 60, of: 1) == [])
        #expect(table.note(unfinishedBytes: 90, of: 2) == [])
        // A new frame on the same connection is the youngest.
        #expect(table.note(unfinishedBytes: 0, of: 0) == [])
        #expect(table.note(unfinishedBytes: 95, of: 0) == ["2"])
        #expect(table.note(unfinishedBytes: 101, of: 0) == ["0"])
    }

    @Test("above the limit of all sources, the connection with the oldest unfinished frame is dropped")
    func manySourcesTogetherHaveABoundToo() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 1_000, maximumPerSource: 10, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        for id in 0..<100 {
            #expect(try table.add(id, id, from: "\(id)") == nil)
            #expect(table.note(unfinishedBytes: 100, of: id) == (id < 10 ? [] : [id - 10]))
        }
        table.forget(99)
        #expect(try table.add(100, 100, from: "100") == nil)
        #expect(table.note(unfinishedBytes: 100, of: 100) == [])
    }

    @Test("a new connection evicts the one that has waited longest for admission, never an admitted one")
    func eviction() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 3, maximumPerSource: 3, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        for id in 0..<3 { _ = try table.add(id, id, from: "a") }
        table.noteAdmission(of: 0)
        #expect(try table.add(3, 3, from: "b") == 1)
        #expect(try table.add(4, 4, from: "b") == 2)
        table.noteAdmission(of: 3)
        table.noteAdmission(of: 4)
        #expect(throws: ConnectionError.self) { try table.add(5, 5, from: "b") }
        // A removed connection is not evicted, and its identity can be used again.
        table.forget(4)
        #expect(try table.add(4, 4, from: "b") == nil)
        #expect(try table.add(6, 6, from: "b") == 4)
        #expect(table.count == 3)
    }

    @Test("connections without Hello are evicted before those under review")
    func examinedStay() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 4, maximumPerSource: 4, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        _ = try table.add(0, 0, from: "good")
        table.noteExamination(of: 0)
        for id in 1..<4 { _ = try table.add(id, id, from: "bad") }
        for id in 4..<100 { #expect(try table.add(id, id, from: "bad") == id - 3) }
        for id in 97..<100 { table.noteExamination(of: id) }
        // All are being examined: the source with the most connections loses its oldest.
        #expect(try table.add(100, 100, from: "bad") == 97)
        table.noteAdmission(of: 0)
        #expect(table.count == 4 && table.connections.sorted() == [0, 98, 99, 100])
    }

    @Test("the source with the most connections loses its oldest; among equals the oldest of all is evicted")
    func evictedSource() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 5, maximumPerSource: 5, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100)
        for (id, source) in ["good", "a", "b", "b", "b"].enumerated() { _ = try table.add(id, id, from: source) }
        #expect(try table.add(5, 5, from: "c") == 2)
        #expect(try table.add(6, 6, from: "d") == 3)
        #expect(try table.add(7, 7, from: "e") == 0)
    }

    @Test("an agent under review survives a flood of 1,000 connections a second")
    func reviewAmidFlood() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 10_000, maximumPerSource: 1_000, maximumUnfinishedBytes: 1_000,
            maximumUnfinishedBytesPerSource: 100
        )
        _ = try table.add(-1, -1, from: "good")
        table.noteExamination(of: -1)
        // Eleven seconds of the flood, from 100 sources; each connection is examined at once.
        for id in 0..<11_000 {
            #expect(try table.add(id, id, from: "\(id % 100)") != -1)
            table.noteExamination(of: id)
        }
        table.noteAdmission(of: -1)
        #expect(table.connections.contains(-1))
    }

    @Test("releasing memory does not change the table")
    func releasedMemory() throws {
        var table = ConnectionTable<Int, Int>(
            maximum: 2_000, maximumPerSource: 2_000, maximumUnfinishedBytes: 1_000, maximumUnfinishedBytesPerSource: 100
        )
        for id in 0..<2_000 { _ = try table.add(id, id, from: "\(id % 7)") }
        for id in 3..<2_000 { table.forget(id) }
        table.noteAdmission(of: 0)
        table.releaseMemory()
        #expect(table.count == 3 && table.connections.sorted() == [0, 1, 2])
        for id in 3..<2_000 { #expect(try table.add(id, id, from: "b") == nil) }
        #expect(try table.add(2_000, 2_000, from: "c") == 3)
        #expect(table.note(unfinishedBytes: 101, of: 2) == [2])
    }

    /// Compares the table with plain collections, for operations in random order.
    @Test("counts and sums equal those of the open connections, in any order of operations", arguments: 0..<20)
    func theSumsAreThoseOfTheOpenConnections(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = ConnectionTable<Int, Int>(
            maximum: 12, maximumPerSource: 5, maximumUnfinishedBytes: 700, maximumUnfinishedBytesPerSource: 300)
        var open: [Int: (source: String, bytes: Int)] = [:]
        var admitted: Set<Int> = []
        var examined: Set<Int> = []
        func victim() -> Int? {
            let waiting = open.keys.filter { !admitted.contains($0) }
            let silent = waiting.filter { !examined.contains($0) }
            let candidates = silent.isEmpty ? waiting : silent
            let counts = candidates.reduce(into: [String: Int]()) { $0[open[$1]?.source ?? "", default: 0] += 1 }
            return candidates.filter { counts[open[$0]?.source ?? ""] == counts.values.max() }.min()
        }
        for id in 0..<1_000 {
            let source = ["a", "b", "c"].randomElement(using: &random) ?? ""
            switch Int.random(in: 0..<5, using: &random) {
            case 0:
                let waiting = open.keys.filter { !admitted.contains($0) }
                let hasRoom =
                    (open.count < 12 || !waiting.isEmpty) && open.values.count { $0.source == source } < 5
                do {
                    let expected = open.count < 12 ? nil : victim()
                    let evicted = try table.add(id, id, from: source)
                    #expect(hasRoom && evicted == expected)
                    if let evicted { open[evicted] = nil }
                    open[id] = (source, 0)
                } catch {
                    #expect(!hasRoom)
                }
            case 1:
                guard let id = open.keys.sorted().randomElement(using: &random) else { continue }
                table.forget(id)
                open[id] = nil
            case 2:
                guard let id = open.keys.sorted().randomElement(using: &random) else { continue }
                table.noteAdmission(of: id)
                admitted.insert(id)
            case 3:
                guard let id = open.keys.sorted().randomElement(using: &random), !admitted.contains(id) else {
                    continue
                }
                table.noteExamination(of: id)
                examined.insert(id)
            default:
                guard let id = open.keys.sorted().randomElement(using: &random) else { continue }
                open[id]?.bytes = Int.random(in: 0...150, using: &random)
                let source = open[id]?.source
                func sum() -> Int { open.values.reduce(0) { $1.source == source ? $0 + $1.bytes : $0 } }
                func total() -> Int { open.values.reduce(0) { $0 + $1.bytes } }
                for victim in table.note(unfinishedBytes: open[id]?.bytes ?? 0, of: id) {
                    #expect(sum() > 300 && open[victim]?.source == source || total() > 700)
                    #expect(open[victim]?.bytes ?? 0 > 0)
                    table.forget(victim)
                    open[victim] = nil
                }
                #expect(sum() <= 300 && total() <= 700)
            }
            #expect(table.count == open.count)
        }
    }
}
