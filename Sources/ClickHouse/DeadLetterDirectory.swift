// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Synchronization

/// The directory of dead letters: rejected batches, to be inspected or inserted by hand.
///
/// Each file is a body as it was sent, in Native format; `INSERT INTO t FROM INFILE '….native.lz4' FORMAT Native` in
/// clickhouse-client reads it.
public final class DeadLetterDirectory: Sendable {
    /// The directory's path and its size limit.
    public struct Configuration: Equatable, Sendable {
        /// The directory's path; it is created if it does not exist.
        public var directory: String
        /// The limit on the size of all files, in bytes. A batch that would exceed it is not written.
        public var maximumBytes: Int

        /// Makes a configuration from its parts.
        public init(directory: String, maximumBytes: Int = 256 << 20) {
            self.directory = directory
            self.maximumBytes = maximumBytes
        }
    }

    private let configuration: Configuration
    private let lock = Mutex(())

    init(_ configuration: Configuration) { self.configuration = configuration }

    /// Writes a batch and returns the file's path, or why there is none.
    func path(storing batch: InsertBatch) -> String {
        do {
            return try store(batch) ?? "none: the directory is full; raise clickhouse_quarantine_max_bytes"
        } catch {
            return "none: \(error)"
        }
    }

    /// Writes a batch and returns the file's path; nil if the directory has no room. Throws the file system's errors.
    func store(_ batch: InsertBatch) throws -> String? {
        try lock.withLock { _ in
            let (files, folder) = (FileManager.default, configuration.directory)
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let used = try files.contentsOfDirectory(atPath: folder).reduce(0) { sum, name in
                sum + Int(try files.attributesOfItem(atPath: "\(folder)/\(name)")[.size] as? UInt ?? 0)
            }
            guard used + batch.body.bytes.count <= configuration.maximumBytes else { return nil }
            let path = "\(folder)/\(batch.token).native\(batch.body.compression.fileSuffix)"
            try Data(batch.body.bytes).write(to: URL(filePath: path), options: .atomic)
            return path
        }
    }
}
