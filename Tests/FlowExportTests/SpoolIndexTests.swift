// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore
import TestSupport
import Testing

@testable import FlowExport

/// Logs that are cut off or damaged at any place.
@Suite struct SpoolIndexTests {
    /// A log in memory, and the end of each of its records.
    private struct Log {
        let format = SpoolFormat()
        var bytes = ByteBuffer()
        var records: [(end: Int, kind: SpoolFormat.Record.Kind, batch: SpooledBatch)] = []

        init() { format.writeHeader(ofNode: "node-a", to: &bytes) }

        mutating func append(_ batch: SpooledBatch) {
            format.write(batch, to: &bytes)
            records.append((bytes.readableBytes, .batch, batch))
        }

        mutating func acknowledge(_ batch: SpooledBatch) {
            format.write(acknowledged: batch.key, to: &bytes)
            records.append((bytes.readableBytes, .acknowledged, batch))
        }

        mutating func record(_ block: AnnouncedBlock, of batch: SpooledBatch) {
            format.write(block, with: [batch.key.sequence], of: batch.agentID, to: &bytes)
            var batch = batch
            batch.block = block
            records.append((bytes.readableBytes, .block, batch))
        }

        /// The records' ranges in the log.
        var ranges: [Range<Int>] {
            zip([SpoolFormat.headerBytes] + records.map(\.end), records.map(\.end)).map { $0..<$1 }
        }

        /// Returns the batches that are unacknowledged if only some of the records are read.
        func unacknowledged(ofRecords isRead: (Int) -> Bool) -> Set<BatchKey> {
            let read = records.enumerated().filter { isRead($0.offset) }.map(\.element)
            let keys = { kind in Set(read.filter { $0.kind == kind }.map(\.batch.key)) }
            return keys(SpoolFormat.Record.Kind.batch).subtracting(keys(.acknowledged))
        }
    }

    /// Returns a log of two processes' batches, some of them acknowledged.
    private func log(batches: Int, seed: UInt64 = 1) -> Log {
        var (log, generator) = (Log(), SeededGenerator(seed: seed))
        for sequence in 1...batches {
            let flows = (0..<Int.random(in: 1...3, using: &generator)).map { Flow.test(sequence * 10 + $0) }
            log.append(
                SpooledBatch(
                    agentID: AgentID(bits: sequence <= batches / 3 ? 7 : 8),
                    batch: .test(UInt64(sequence), flows, at: UInt64(sequence))))
            if let batch = log.records.map(\.batch).randomElement(using: &generator), Bool.random(using: &generator) {
                log.acknowledge(batch)
            }
            if let batch = log.records.map(\.batch).randomElement(using: &generator), Bool.random(using: &generator) {
                let block = AnnouncedBlock(
                    token: UInt128(sequence), day: 20_000, server: 7,
                    arrival: AnnouncementTime(wallMilliseconds: UInt64(sequence)))
                log.record(block, of: batch)
            }
        }
        return log
    }

    private func read(
        _ log: Log, _ bytes: ByteBuffer? = nil, maximumBytes: Int = .max
    ) throws(SpoolError) -> SpoolIndex.Contents {
        let bytes = bytes ?? log.bytes
        let reader: SpoolIndex.Reader = { offset, length throws(SpoolError) in
            let start = min(offset, bytes.readableBytes)
            return bytes.getSlice(at: start, length: min(length, bytes.readableBytes - start)) ?? ByteBuffer()
        }
        return try SpoolIndex(log.format, fileBytes: bytes.readableBytes, read: reader)
            .contents(maximumBytes: maximumBytes, read: reader)
    }

    /// Expects the batches with these keys, each as it was written.
    private func expect(_ contents: SpoolIndex.Contents, _ keys: Set<BatchKey>, of log: Log, _ context: Comment) {
        #expect(Set(contents.batches.map(\.key)) == keys, context)
        for read in contents.batches {
            let written = log.records.first { $0.kind == .batch && $0.batch.key == read.key }?.batch.batch
            #expect(written?.frame == read.batch.frame, context)
            #expect(written?.observedAtMilliseconds == read.batch.observedAtMilliseconds, context)
            #expect(written?.amount == read.batch.amount, context)
            if let block = read.block {
                #expect(log.records.contains { $0.batch.key == read.key && $0.batch.block == block }, context)
            }
        }
    }

    @Test("unacknowledged batches are read in order, by process and sequence number")
    func whole() throws {
        let log = log(batches: 40)
        let contents = try read(log)
        expect(contents, log.unacknowledged { _ in true }, of: log, "whole")
        #expect(contents.batches.map(\.key.sequence) == contents.batches.map(\.key.sequence).sorted())
        for batch in contents.batches {
            let last = log.records.last { $0.kind == .block && $0.batch.key == batch.key }
            #expect(batch.block == last?.batch.block)
        }
        #expect(contents.agentIDs == [AgentID(bits: 7), AgentID(bits: 8)])
        #expect(contents.damagedRecords == 0 && contents.excess == FlowAmount())
    }

    @Test("a log truncated at any byte yields every record before that byte")
    func cutOffAnywhere() throws {
        let log = log(batches: 12)
        for length in SpoolFormat.headerBytes...log.bytes.readableBytes {
            let contents = try read(log, log.bytes.getSlice(at: 0, length: length))
            expect(contents, log.unacknowledged { log.ranges[$0].upperBound <= length }, of: log, "\(length)")
            let isAtEndOfRecord = length == SpoolFormat.headerBytes || log.ranges.contains { $0.upperBound == length }
            // A torn batch counts as damaged even if its acknowledgement was cut off too.
            #expect(contents.damagedRecords == (isAtEndOfRecord ? 0 : 1), "\(length)")
            // The flows and bytes of a torn batch are known if its record's header is whole.
            if let torn = log.ranges.firstIndex(where: { $0.contains(length) && $0.lowerBound + 64 <= length }),
                !isAtEndOfRecord
            {
                let record = log.records[torn]
                #expect(
                    contents.damaged == (record.kind == .batch ? record.batch.batch.amount : FlowAmount()), "\(length)")
            }
        }
    }

    @Test("a flipped bit loses only the record that it is in")
    func flippedBit() throws {
        let log = log(batches: 12)
        for index in SpoolFormat.headerBytes..<log.bytes.readableBytes {
            var bytes = log.bytes
            let old = try #require(bytes.getInteger(at: index, as: UInt8.self))
            bytes.setInteger(old ^ 1 << UInt8(index % 8), at: index)
            let hit = try #require(log.ranges.firstIndex { $0.contains(index) })
            let contents = try read(log, bytes)
            expect(contents, log.unacknowledged { $0 != hit }, of: log, "\(index)")
            let isFrame =
                index >= log.ranges[hit].lowerBound + SpoolFormat.recordBytes && log.records[hit].kind == .batch
            let isSettled = !log.unacknowledged { _ in true }.contains(log.records[hit].batch.key)
            #expect(contents.damagedStretches == (isFrame ? 0 : 1), "\(index)")
            // A damaged frame loses nothing if its batch is acknowledged later in the log.
            if isFrame {
                let lost = isSettled ? FlowAmount() : log.records[hit].batch.batch.amount
                #expect(contents.damaged == lost, "\(index)")
            }
        }
    }

    @Test("any damage yields only batches that were written", arguments: 0..<60)
    func anyDamage(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let log = log(batches: 60, seed: UInt64(seed))
        var bytes = log.bytes
        for _ in 0..<Int.random(in: 1...8, using: &generator) {
            let start = Int.random(in: SpoolFormat.headerBytes..<bytes.readableBytes, using: &generator)
            let length = min(Int.random(in: 1...400, using: &generator), bytes.readableBytes - start)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes.setRepeatingByte(0, count: length, at: start)
            case 1: for index in start..<start + length { bytes.setInteger(UInt8.random(in: 0...255), at: index) }
            case 2:  // A stretch is missing.
                let tail = bytes.getSlice(at: start + length, length: bytes.readableBytes - start - length)
                bytes.moveWriterIndex(to: start)
                bytes.writeImmutableBuffer(tail ?? ByteBuffer())
            default:  // A stretch is there twice.
                guard let again = bytes.getSlice(at: start, length: length) else { break }
                let tail = bytes.getSlice(at: start, length: bytes.readableBytes - start)
                bytes.moveWriterIndex(to: start)
                bytes.writeImmutableBuffer(again)
                bytes.writeImmutableBuffer(tail ?? ByteBuffer())
            }
        }
        let contents = try read(log, bytes)
        for batch in contents.batches {
            let written = log.records.first { $0.kind == .batch && $0.batch.key == batch.key }?.batch.batch
            #expect(written?.frame == batch.batch.frame)
        }
        #expect(Set(contents.batches.map(\.key)).count == contents.batches.count)
    }

    @Test("records behind a damaged stretch of any length are found")
    func longDamage() throws {
        var log = log(batches: 3)
        let start = log.bytes.writerIndex
        for length in [1, 65_535, 65_536, 200_000] {
            log.bytes.moveWriterIndex(to: start)
            log.bytes.writeRepeatingByte(0x6b, count: length)
            let late = SpooledBatch(agentID: AgentID(bits: 9), batch: .test(1))
            log.format.write(late, to: &log.bytes)
            let contents = try read(log)
            #expect(contents.batches.last?.key == late.key, "\(length)")
            #expect(contents.damagedStretches == 1)
        }
    }

    @Test("a record of another file is rejected")
    func otherFile() throws {
        var log = log(batches: 5)
        let expected = log.unacknowledged { _ in true }
        SpoolFormat().write(SpooledBatch(agentID: AgentID(bits: 9), batch: .test(1)), to: &log.bytes)
        let contents = try read(log)
        #expect(Set(contents.batches.map(\.key)) == expected && contents.damagedStretches == 1)
    }

    @Test("batches beyond the limit are counted and not read")
    func bound() throws {
        var log = Log()
        let batches = (1...10).map { SpooledBatch(agentID: AgentID(bits: 7), batch: .test(UInt64($0))) }
        for batch in batches { log.append(batch) }
        let size = batches[0].batch.frame.readableBytes
        let contents = try read(log, maximumBytes: 4 * size + size / 2)
        #expect(contents.batches.map(\.key) == batches.prefix(4).map(\.key))
        #expect(contents.excess == FlowAmount(flows: 6, bytes: 12_000))
    }

    @Test("a header that is truncated, damaged, or of another version or node is rejected")
    func headers() throws {
        let log = Log()
        let whole = log.bytes
        #expect(try SpoolFormat(reading: whole, ofNode: "node-a").salt == log.format.salt)
        for length in 0..<SpoolFormat.headerBytes {
            let cut = try #require(whole.getSlice(at: 0, length: length))
            #expect(throws: SpoolFormat.HeaderError.foreign) { try SpoolFormat(reading: cut, ofNode: "node-a") }
        }
        for index in 0..<SpoolFormat.headerBytes {
            var bytes = whole
            bytes.setInteger(try #require(bytes.getInteger(at: index, as: UInt8.self)) ^ 0x10, at: index)
            #expect(throws: SpoolFormat.HeaderError.self) { try SpoolFormat(reading: bytes, ofNode: "node-a") }
        }
        var later = whole
        later.setInteger(UInt32(2), at: 8)
        #expect(throws: SpoolFormat.HeaderError.version(2)) { try SpoolFormat(reading: later, ofNode: "node-a") }
        #expect(throws: SpoolFormat.HeaderError.node("node-a")) { try SpoolFormat(reading: whole, ofNode: "node-b") }
        let long = String(repeating: "n", count: 300)
        var ofLong = ByteBuffer()
        log.format.writeHeader(ofNode: long, to: &ofLong)
        #expect(ofLong.readableBytes == SpoolFormat.headerBytes)
        #expect(try SpoolFormat(reading: ofLong, ofNode: long).salt == log.format.salt)
    }
}
