// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore

/// The unacknowledged batches of a spool file, with the offset of each one's frame, and the damage found in the file.
///
/// Built from the records' headers alone, so that memory does not hold frames of batches that are acknowledged later in
/// the log. After a damaged header, reading goes on at the next intact record.
struct SpoolIndex {
    /// Reads up to `length` bytes at `offset`, fewer at the end of the file.
    typealias Reader = (_ offset: Int, _ length: Int) throws(SpoolError) -> ByteBuffer

    /// The unacknowledged batches of a file, and the amounts that were lost.
    struct Contents {
        /// The intact batches, grouped by agent process, each process's in ascending order of sequence numbers.
        var batches: [SpooledBatch] = []
        /// The agent processes whose unacknowledged batches are in the file.
        var agentIDs: Set<AgentID> = []
        /// The number of batches whose frame is damaged.
        var damagedFrames = 0
        /// The flows and network bytes in those batches.
        var damaged = FlowAmount()
        /// The number of damaged stretches, each of which may have held any number of records.
        var damagedStretches = 0
        /// The flows and network bytes in batches beyond the limit.
        var excess = FlowAmount()

        var damagedRecords: Int { damagedFrames + damagedStretches }
    }

    private struct Entry {
        let record: SpoolFormat.Record
        /// The offset of the frame in the file; nil if the file ends before the frame does.
        let frameOffset: Int?
        /// The block last recorded with the batch.
        var block: AnnouncedBlock?
    }

    /// The step, in bytes, of the search for the next intact record after a damaged one.
    private static let searchStep = 64 << 10

    private let format: SpoolFormat
    private var entries: [BatchKey: Entry] = [:]
    private var damagedStretches = 0

    /// The unacknowledged frames' size in bytes.
    var frameBytes: Int { entries.values.reduce(0) { $0 + $1.record.frameBytes } }

    /// - Parameters:
    ///   - fileBytes: The file's size in bytes.
    ///   - known: Agent processes whose batches are skipped: the exporter keeps them, or has kept them.
    init(
        _ format: SpoolFormat, fileBytes: Int, without known: Set<AgentID> = [], read: Reader
    ) throws(SpoolError) {
        self.format = format
        var offset = SpoolFormat.headerBytes
        var isTorn = false
        while offset < fileBytes {
            let header = try read(offset, SpoolFormat.recordBytes)
            guard let record = format.record(in: header, at: header.readerIndex) else {
                // The rest of a torn frame belongs to damage that is counted already.
                if !isTorn { damagedStretches += 1 }
                isTorn = false
                offset = try Self.nextRecord(format, after: offset, read) ?? fileBytes
                continue
            }
            offset += SpoolFormat.recordBytes
            let isWhole = offset + record.frameBytes <= fileBytes
            if !known.contains(record.agentID) { try add(record, frameOffset: isWhole ? offset : nil, read) }
            if isWhole { offset += record.frameBytes }
            isTorn = !isWhole
        }
    }

    private mutating func add(
        _ record: SpoolFormat.Record, frameOffset: Int?, _ read: Reader
    ) throws(SpoolError) {
        switch record.kind {
        case .batch: entries[record.key] = Entry(record: record, frameOffset: frameOffset)
        case .acknowledged: entries[record.key] = nil
        case .block:
            guard let frameOffset,
                let (block, sequences) = format.block(of: record, contents: try read(frameOffset, record.frameBytes))
            else { return damagedStretches += 1 }
            for sequence in sequences {
                entries[BatchKey(agentID: record.agentID, sequence: sequence)]?.block = block
            }
        }
    }

    private static func nextRecord(
        _ format: SpoolFormat, after damaged: Int, _ read: Reader
    ) throws(SpoolError) -> Int? {
        var offset = damaged + 1
        while true {
            let bytes = try read(offset, searchStep + SpoolFormat.recordBytes - 1)
            if let index = format.firstRecord(in: bytes, from: bytes.readerIndex) {
                return offset + index - bytes.readerIndex
            }
            guard bytes.readableBytes > searchStep else { return nil }
            offset += searchStep
        }
    }

    /// Reads the unacknowledged batches, the oldest first, up to `maximumBytes` of frames.
    func contents(maximumBytes: Int, read: Reader) throws(SpoolError) -> Contents {
        var contents = Contents()
        contents.damagedStretches = damagedStretches
        contents.agentIDs = Set(entries.keys.map(\.agentID))
        var restBytes = maximumBytes
        for entry in entriesInOrder {
            restBytes -= entry.record.frameBytes
            guard restBytes >= 0 else {
                contents.excess += entry.record.amount
                continue
            }
            if let offset = entry.frameOffset,
                var batch = format.batch(of: entry.record, frame: try read(offset, entry.record.frameBytes))
            {
                batch.block = entry.block
                contents.batches.append(batch)
            } else {
                contents.damagedFrames += 1
                contents.damaged += entry.record.amount
            }
        }
        return contents
    }

    /// The entries, grouped by agent process in the order of the processes' first frames in the log, then by sequence
    /// number.
    private var entriesInOrder: [Entry] {
        let groups = Dictionary(grouping: entries.values, by: \.record.agentID).values.map { group in
            (first: group.compactMap(\.frameOffset).min() ?? .max, entries: group)
        }
        return groups.sorted { $0.first < $1.first }.flatMap { group in
            group.entries.sorted { $0.record.sequence < $1.record.sequence }
        }
    }
}
