// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Glibc
import NIOCore

/// The files of a spool: `lock`, held while an agent uses the directory; `spool`, the log; `spool.new`, while the log
/// is rewritten; `spool.corrupt.1` to `.3`, unusable logs that were set aside, the latest first.
///
/// Every call may block the calling thread; only one thread may use a directory.
struct SpoolDirectory {
    /// The contents of a predecessor's log.
    struct Found {
        var contents = SpoolIndex.Contents()
        /// The reason why the log was unusable and was set aside; nil if it was usable.
        var setAside: String?
    }

    private static let corruptFiles = 3
    /// The bytes that the exporter may keep beyond SPOOL_BYTES: batches that were being filled when the limit was
    /// reached.
    private static let slackBytes = 1 << 20
    private static let writeBytes = 64 << 10

    private let path: String
    private let node: String
    private let maximumBytes: Int
    private var lock: SpoolFile?
    private var log: SpoolFile?
    private var format = SpoolFormat()
    /// Records that the next ``flush()`` writes.
    private var unwritten = ByteBuffer()

    /// The log's size in bytes.
    private(set) var logBytes = 0
    /// The part of ``logBytes`` without which the log would hold the same batches: acknowledged batches, their
    /// acknowledgements, and the records of blocks.
    private(set) var deadBytes = 0
    /// The part of ``deadBytes`` that the last ``replace(with:)`` has written, so that it would write it again.
    private var rewrittenDeadBytes = 0
    /// The bytes by which a rewriting shortens the log at least, apart from records of blocks.
    var shrinkableBytes: Int { deadBytes - rewrittenDeadBytes }
    /// Whether the log has been written to since the last sync.
    private(set) var isDirty = false

    /// - Parameters:
    ///   - node: The node whose batches are kept.
    ///   - maximumBytes: The limit on unacknowledged frames, in bytes (SPOOL_BYTES).
    init(_ path: String, node: String, maximumBytes: Int) {
        self.path = path
        self.node = node
        self.maximumBytes = maximumBytes
    }

    private func file(_ name: String) -> String { "\(path)/\(name)" }

    // MARK: - Opening

    /// Takes the directory's lock and reads a predecessor's log, which stays as it is until ``replace(with:)``.
    ///
    /// - Parameters:
    ///   - usedBytes: The bytes of frames that the exporter keeps already.
    ///   - known: Agent processes whose batches are skipped: the exporter keeps them, or has kept them.
    mutating func open(usedBytes: Int, without known: Set<AgentID>) throws(SpoolError) -> Found {
        close()
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SpoolError("create \(path)", errno: errno) }
        let lock = try SpoolFile(file("lock"), flags: O_RDWR | O_CREAT)
        try lock.lock()
        self.lock = lock
        unlink(file("spool.new"))
        var status = stat()
        guard lstat(file("spool"), &status) == 0 else {
            guard errno == ENOENT else { throw SpoolError("stat \(file("spool"))", errno: errno) }
            return Found()
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return try setAside("it is not a regular file") }
        guard status.st_size > 0 else { return Found() }
        let log = try SpoolFile(file("spool"), flags: O_RDONLY)
        let header = try log.read(0, SpoolFormat.headerBytes)
        do throws(SpoolFormat.HeaderError) {
            format = try SpoolFormat(reading: header, ofNode: node)
        } catch {
            return try setAside("\(error)")
        }
        return Found(contents: try read(log, bytes: Int(status.st_size), usedBytes: usedBytes, without: known))
    }

    private func read(
        _ log: SpoolFile, bytes: Int, usedBytes: Int, without known: Set<AgentID>
    ) throws(SpoolError) -> SpoolIndex.Contents {
        // Bounds the reading of a log that was written under a higher SPOOL_BYTES.
        let readBytes = min(bytes, 4 * maximumBytes + Self.slackBytes)
        let read: SpoolIndex.Reader = { offset, length throws(SpoolError) in try log.read(offset, length) }
        let index = try SpoolIndex(format, fileBytes: readBytes, without: known, read: read)
        let boundBytes = maximumBytes + Self.slackBytes
        if index.frameBytes <= boundBytes, index.frameBytes + usedBytes > boundBytes {
            throw SpoolError(
                .noRoom,
                "cannot restore \(index.frameBytes) bytes of batches beside \(usedBytes) bytes already in memory")
        }
        var contents = try index.contents(maximumBytes: boundBytes - usedBytes, read: read)
        if bytes > readBytes { contents.damagedStretches += 1 }
        return contents
    }

    /// Renames an unusable log to `spool.corrupt.1`; earlier ones move up, and the oldest of three is overwritten.
    private func setAside(_ reason: String) throws(SpoolError) -> Found {
        let corrupt = (1...Self.corruptFiles).map { file("spool.corrupt.\($0)") }
        for (older, newer) in zip(corrupt, corrupt.dropFirst()).reversed() { rename(older, newer) }
        guard rename(file("spool"), corrupt[0]) == 0 else { throw SpoolError("rename \(file("spool"))", errno: errno) }
        return Found(setAside: reason)
    }

    // MARK: - Writing

    /// Rewrites the log atomically: after a crash, it is either the old or the new one.
    mutating func replace(with batches: [SpooledBatch]) throws(SpoolError) {
        guard lock != nil else { return }
        let newPath = file("spool.new")
        let (new, newFormat) = (try SpoolFile(newPath, flags: O_RDWR | O_CREAT | O_TRUNC), SpoolFormat())
        do throws(SpoolError) {
            var (buffer, bytes) = (ByteBuffer(), 0)
            newFormat.writeHeader(ofNode: node, to: &buffer)
            for batch in batches {
                newFormat.write(batch, to: &buffer)
                if buffer.readableBytes >= Self.writeBytes { try Self.flush(&buffer, to: new, at: &bytes) }
            }
            let batchBytes = bytes + buffer.readableBytes
            Self.writeBlocks(of: batches, in: newFormat, to: &buffer)
            try Self.flush(&buffer, to: new, at: &bytes)
            try new.sync()
            try new.rename(to: file("spool"))
            (log, format, logBytes, deadBytes) = (new, newFormat, bytes, bytes - batchBytes)
            rewrittenDeadBytes = deadBytes
        } catch {
            unlink(newPath)
            throw error
        }
        unwritten.clear()
        isDirty = false
        try SpoolFile(path, flags: O_RDONLY | O_DIRECTORY).sync()
    }

    /// Appends the records of the batches' blocks: one for each block and agent process.
    private static func writeBlocks(of batches: [SpooledBatch], in format: SpoolFormat, to buffer: inout ByteBuffer) {
        var sequences: [AnnouncedBlock: [AgentID: [UInt64]]] = [:]
        for batch in batches {
            guard let block = batch.block else { continue }
            sequences[block, default: [:]][batch.agentID, default: []].append(batch.key.sequence)
        }
        for (block, sequences) in sequences {
            for (agentID, sequences) in sequences {
                format.write(block, with: sequences, of: agentID, to: &buffer)
            }
        }
    }

    /// Appends the block in which a server inserts these batches, which the next ``flush()`` writes.
    mutating func append(_ block: AnnouncedBlock, with keys: [BatchKey]) {
        let before = unwritten.readableBytes
        for (agentID, keys) in Dictionary(grouping: keys, by: \.agentID) {
            format.write(block, with: keys.map(\.sequence), of: agentID, to: &unwritten)
        }
        deadBytes += unwritten.readableBytes - before
    }

    /// Appends a batch, which the next ``flush()`` writes if it is not written before.
    mutating func append(_ batch: SpooledBatch) throws(SpoolError) {
        format.write(batch, to: &unwritten)
        if unwritten.readableBytes >= Self.writeBytes { try flush() }
    }

    /// Appends acknowledgements of batches in the log, which the next ``flush()`` writes.
    ///
    /// - Parameter frameBytes: Bytes of those batches' frames.
    mutating func append(acknowledged keys: [BatchKey], frameBytes: Int) {
        for key in keys { format.write(acknowledged: key, to: &unwritten) }
        deadBytes += 2 * SpoolFormat.recordBytes * keys.count + frameBytes
    }

    /// Writes the appended records. A log without an unacknowledged batch is emptied.
    mutating func flush() throws(SpoolError) {
        guard let log, unwritten.readableBytes > 0 else { return }
        let before = logBytes
        do throws(SpoolError) {
            try Self.flush(&unwritten, to: log, at: &logBytes)
        } catch {
            // A full disk may have taken part of the records, which must not stay as a torn record.
            try? log.truncate(to: before)
            logBytes = before
            throw error
        }
        isDirty = true
        if logBytes - deadBytes == SpoolFormat.headerBytes { try clear() }
    }

    private static func flush(
        _ buffer: inout ByteBuffer, to file: SpoolFile, at offset: inout Int
    ) throws(SpoolError) {
        try file.write(buffer, at: offset)
        offset += buffer.readableBytes
        buffer.clear()
    }

    /// Removes all records from the log; needs no free space.
    mutating func clear() throws(SpoolError) {
        if let log {
            try log.truncate(to: SpoolFormat.headerBytes)
            (logBytes, deadBytes, rewrittenDeadBytes) = (SpoolFormat.headerBytes, 0, 0)
        } else if lock != nil {
            unlink(file("spool"))
        }
    }

    /// Waits until everything written survives a crash of the node, and checks that the log is still at its path, where
    /// a successor looks for it.
    mutating func sync() throws(SpoolError) {
        guard let log, isDirty else { return }
        try log.sync()
        isDirty = false
        guard try log.isInPlace() else {
            throw SpoolError(.missing, "cannot keep batches in \(path): its files were removed or replaced")
        }
    }

    /// Drops the records that were appended but not written.
    mutating func dropUnwritten() { unwritten.clear() }

    /// Closes the log and releases the directory's lock.
    mutating func close() {
        (log, lock) = (nil, nil)
        (logBytes, deadBytes, rewrittenDeadBytes, isDirty) = (0, 0, 0, false)
        unwritten = ByteBuffer()
    }
}

extension SpoolFormat.HeaderError: CustomStringConvertible {
    var description: String {
        switch self {
        case .foreign: "it does not have the header of a spool file"
        case .version(let version): "it has version \(version), and this agent reads version \(SpoolFormat.version)"
        case .node(let name): "it belongs to the node \(name)"
        }
    }
}
