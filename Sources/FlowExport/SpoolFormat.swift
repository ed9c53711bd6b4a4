// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import NIOCore

/// The byte layout of a spool file: a header, then a log of records. All numbers are big-endian.
///
/// A record holds a batch (its frame follows), a batch's acknowledgement, or the block in which a server inserts batches
/// (the block and the batches' numbers follow). The record and what follows each have a checksum, so that a damaged frame
/// costs that batch alone and its flows and bytes are still known.
///
/// Release 1 of the agent skips a record of the last kind as damaged.
struct SpoolFormat {
    /// The fixed part of a record.
    struct Record: Equatable {
        enum Kind: UInt8 {
            case batch = 1
            case acknowledged = 2
            case block = 3
        }

        var kind: Kind
        var agentID: AgentID
        /// The batch's number; 0 for a block.
        var sequence: UInt64
        var observedAtMilliseconds: UInt64 = 0
        /// The flows and network bytes in the batch; zero for other kinds.
        var amount = FlowAmount()
        /// The size in bytes of what follows.
        var frameBytes = 0
        var frameChecksum: UInt32 = 0

        var key: BatchKey { BatchKey(agentID: agentID, sequence: sequence) }
    }

    /// A reason why a file is not a spool of this agent.
    enum HeaderError: Error, Equatable {
        case foreign
        case version(UInt32)
        case node(String)
    }

    static let version: UInt32 = 1
    /// The size in bytes of the file's header: magic, version, salt, node name (length and 255 bytes), checksum.
    static let headerBytes = 8 + 4 + 8 + 1 + maximumNodeNameBytes + 4
    /// The size in bytes of a record without its frame.
    static let recordBytes = 64

    private static let magic: UInt64 = 0x6b6e_6d73_706f_6f6c  // "knmspool"
    private static let recordMagic: UInt32 = 0x6b6e_6d72  // "knmr"
    private static let maximumNodeNameBytes = 255

    /// A random number per file, part of the checksums of its records and frames: neither an address chosen by a remote
    /// peer nor earlier contents of the disk can pass for a record.
    let salt: UInt64

    init(salt: UInt64 = .random(in: .min ... .max)) { self.salt = salt }

    // MARK: - The file's header

    /// Reads a file's header.
    ///
    /// - Parameters:
    ///   - header: The file's first bytes.
    ///   - node: The node whose batches are restored: another node's would be labelled wrongly.
    init(reading header: ByteBuffer, ofNode node: String) throws(HeaderError) {
        var header = header
        guard let bytes = header.getSlice(at: header.readerIndex, length: Self.headerBytes),
            header.readInteger(as: UInt64.self) == Self.magic, let version = header.readInteger(as: UInt32.self)
        else { throw .foreign }
        guard version == Self.version else { throw .version(version) }
        guard let salt = header.readInteger(as: UInt64.self), let length = header.readInteger(as: UInt8.self),
            let name = header.readBytes(length: Self.maximumNodeNameBytes),
            let checksum = header.readInteger(as: UInt32.self),
            checksum == Self.checksum(of: bytes.readableBytesView.dropLast(4), salt: 0)
        else { throw .foreign }
        guard name.prefix(Int(length)).elementsEqual(Self.nodeBytes(node)) else {
            throw .node(String(decoding: name.prefix(Int(length)), as: UTF8.self))
        }
        self.salt = salt
    }

    /// Appends a file's header to `buffer`.
    func writeHeader(ofNode node: String, to buffer: inout ByteBuffer) {
        let (start, name) = (buffer.writerIndex, Self.nodeBytes(node))
        buffer.writeMultipleIntegers(Self.magic, Self.version, salt, UInt8(name.count))
        buffer.writeBytes(name)
        buffer.writeRepeatingByte(0, count: Self.maximumNodeNameBytes - name.count)
        let bytes = buffer.viewBytes(at: start, length: buffer.writerIndex - start)
        buffer.writeInteger(Self.checksum(of: bytes ?? buffer.readableBytesView, salt: 0))
    }

    private static func nodeBytes(_ node: String) -> String.UTF8View.SubSequence {
        node.utf8.prefix(maximumNodeNameBytes)
    }

    // MARK: - Records

    /// Appends a batch's record, frame included.
    func write(_ spooled: SpooledBatch, to buffer: inout ByteBuffer) {
        let batch = spooled.batch
        write(
            Record(
                kind: .batch, agentID: spooled.agentID, sequence: batch.sequence,
                observedAtMilliseconds: batch.observedAtMilliseconds, amount: batch.amount,
                frameBytes: batch.frame.readableBytes,
                frameChecksum: Self.checksum(of: batch.frame.readableBytesView, salt: salt)),
            to: &buffer)
        buffer.writeImmutableBuffer(batch.frame)
    }

    /// Appends the record of a batch's acknowledgement.
    func write(acknowledged key: BatchKey, to buffer: inout ByteBuffer) {
        write(Record(kind: .acknowledged, agentID: key.agentID, sequence: key.sequence), to: &buffer)
    }

    /// Appends the record of a block with these batches of an agent process.
    func write(_ block: AnnouncedBlock, with sequences: [UInt64], of agentID: AgentID, to buffer: inout ByteBuffer) {
        var contents = ByteBuffer()
        contents.writeMultipleIntegers(block.token, block.day, block.server, block.arrival.wallMilliseconds)
        for sequence in sequences { contents.writeInteger(sequence) }
        write(
            Record(
                kind: .block, agentID: agentID, sequence: 0, frameBytes: contents.readableBytes,
                frameChecksum: Self.checksum(of: contents.readableBytesView, salt: salt)),
            to: &buffer)
        buffer.writeImmutableBuffer(contents)
    }

    private func write(_ record: Record, to buffer: inout ByteBuffer) {
        let start = buffer.writerIndex
        buffer.writeMultipleIntegers(
            Self.recordMagic, UInt32(record.kind.rawValue), UInt32(record.frameBytes), record.frameChecksum)
        buffer.writeMultipleIntegers(
            record.agentID.bits, record.sequence, record.observedAtMilliseconds, UInt32(clamping: record.amount.flows),
            record.amount.bytes)
        let bytes = buffer.viewBytes(at: start, length: Self.recordBytes - 4)
        buffer.writeInteger(Self.checksum(of: bytes ?? buffer.readableBytesView, salt: salt))
    }

    /// Returns the record at an index of `buffer`; nil if there is none.
    func record(in buffer: ByteBuffer, at index: Int) -> Record? {
        guard buffer.getInteger(at: index, as: UInt32.self) == Self.recordMagic,
            var bytes = buffer.getSlice(at: index, length: Self.recordBytes),
            bytes.getInteger(at: Self.recordBytes - 4, as: UInt32.self)
                == Self.checksum(of: bytes.readableBytesView.dropLast(4), salt: salt),
            let (_, kind, length, checksum) = bytes.readMultipleIntegers(as: (UInt32, UInt32, UInt32, UInt32).self),
            let (id, sequence, moment, flows, reported) = bytes.readMultipleIntegers(
                as: (UInt128, UInt64, UInt64, UInt32, UInt64).self),
            let kind = UInt8(exactly: kind).flatMap(Record.Kind.init(rawValue:)),
            length <= Frame.headerLength + Frame.maximumLength
        else { return nil }
        return Record(
            kind: kind, agentID: AgentID(bits: id), sequence: sequence, observedAtMilliseconds: moment,
            amount: FlowAmount(flows: UInt64(flows), bytes: reported), frameBytes: Int(length), frameChecksum: checksum)
    }

    /// Returns the index of the first record at or after an index of `buffer`; nil if there is none.
    func firstRecord(in buffer: ByteBuffer, from index: Int) -> Int? {
        let view = buffer.readableBytesView
        var index = index
        while let candidate = view[min(index, view.endIndex)...].firstIndex(of: UInt8(Self.recordMagic >> 24)) {
            if record(in: buffer, at: candidate) != nil { return candidate }
            index = candidate + 1
        }
        return nil
    }

    /// Returns the batch of a record and the frame that was read for it; nil if the frame is not the one that was
    /// written.
    func batch(of record: Record, frame: ByteBuffer) -> SpooledBatch? {
        guard frame.readableBytes == record.frameBytes, frame.readableBytes >= Frame.headerLength,
            Self.checksum(of: frame.readableBytesView, salt: salt) == record.frameChecksum
        else { return nil }
        return SpooledBatch(
            agentID: record.agentID,
            batch: ExportBatch(
                sequence: record.sequence, observedAtMilliseconds: record.observedAtMilliseconds, frame: frame,
                amount: record.amount))
    }

    /// Returns the block of a record and the numbers of the batches in it, given what was read for it; nil if that is not
    /// what was written.
    func block(of record: Record, contents: ByteBuffer) -> (block: AnnouncedBlock, sequences: [UInt64])? {
        var contents = contents
        guard contents.readableBytes == record.frameBytes,
            Self.checksum(of: contents.readableBytesView, salt: salt) == record.frameChecksum,
            let (token, day, server, wallMilliseconds) = contents.readMultipleIntegers(
                as: (UInt128, UInt16, UInt128, UInt64).self)
        else { return nil }
        var sequences: [UInt64] = []
        while let sequence = contents.readInteger(as: UInt64.self) { sequences.append(sequence) }
        let arrival = AnnouncementTime(wallMilliseconds: wallMilliseconds)
        return (AnnouncedBlock(token: token, day: day, server: server, arrival: arrival), sequences)
    }

    private static func checksum(of bytes: ByteBufferView, salt: UInt64) -> UInt32 {
        var checksum = CRC32C()
        withUnsafeBytes(of: salt.bigEndian) { checksum.append($0) }
        bytes.withUnsafeBytes { checksum.append($0) }
        return checksum.value
    }
}
