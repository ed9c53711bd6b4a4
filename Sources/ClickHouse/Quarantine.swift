// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// A directory for batches that ClickHouse does not take, for somebody to look at or to insert by hand.
///
/// A file is the body as it was sent, in Native format: `INSERT INTO t FROM INFILE '….native.lz4' FORMAT Native` in
/// clickhouse-client reads it.
public final class Quarantine: Sendable {
    /// Where the directory is, and how full it may be.
    public struct Configuration: Equatable, Sendable {
        /// The directory; it is made where it does not exist.
        public var directory: String
        /// The most that its files may take, in bytes. What would go beyond is not written.
        public var maximumBytes: Int

        /// Makes a configuration of its parts.
        public init(directory: String, maximumBytes: Int = 256 << 20) {
            self.directory = directory
            self.maximumBytes = maximumBytes
        }
    }

    private let configuration: Configuration
    private let lock = Mutex(())

    init(_ configuration: Configuration) { self.configuration = configuration }

    /// Writes a batch; returns the file's path, nil where there is no room. Throws what the file system says.
    func store(_ batch: InsertBatch) throws -> String? {
        try lock.withLock { _ in
            let folder = URL(filePath: configuration.directory, directoryHint: .isDirectory)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let files = try FileManager.default.contentsOfDirectory(
                at: folder, includingPropertiesForKeys: [.fileSizeKey])
            let used = try files.reduce(0) { $0 + (try $1.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0) }
            guard used + batch.body.bytes.count <= configuration.maximumBytes else { return nil }
            let file = folder.appending(path: "\(batch.token).native\(batch.body.compression.fileSuffix)")
            try Data(batch.body.bytes).write(to: file, options: .atomic)
            return file.path
        }
    }
}
