// SPDX-License-Identifier: Apache-2.0

import FlowWire
import Foundation
import Glibc
import NIOCore
import TestSupport

@testable import FlowExport

/// A temporary folder for a test's spool directories, removed with the object.
final class SpoolFolder: Sendable {
    let path: String
    private let isMounted: Bool

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "spool-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        isMounted = false
    }

    /// Makes a folder with a file system of its own, of `kibibytes` KiB.
    init(kibibytes: Int) async throws {
        try NetworkNamespace.requireSandbox()
        path = FileManager.default.temporaryDirectory.appending(path: "spool-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        isMounted = true
        try await ChildProcess.shell("mount -t tmpfs -o size=\(kibibytes)k tmpfs \(path)")
    }

    deinit {
        if isMounted { umount2(path, CInt(MNT_DETACH)) }
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Makes the file system read-only, or writable again.
    func setReadOnly(_ isReadOnly: Bool) async throws {
        try await ChildProcess.shell("mount -o remount,\(isReadOnly ? "ro" : "rw") \(path)")
    }

    /// Copies a spool directory as a kill of its process would leave it, with the log in any state.
    func copy(_ directory: String, to copy: String) throws {
        try FileManager.default.copyItem(atPath: "\(path)/\(directory)", toPath: "\(path)/\(copy)")
    }

    /// Moves a directory to a name, whatever has that name and is created there again meanwhile.
    func move(_ directory: String, over name: String) async throws {
        try await eventually("\(directory) is moved to \(name)") {
            try? remove(name)
            return rename("\(path)/\(directory)", "\(path)/\(name)") == 0
        }
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

    func write(_ bytes: [UInt8], to file: String) throws { try Data(bytes).write(to: URL(filePath: "\(path)/\(file)")) }

    func bytes(of file: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: "\(path)/\(file)"))) }

    /// Returns the names in a directory, sorted.
    func names(in directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(directory)").sorted()
    }

    /// Returns the unacknowledged batches of a log as they are on the disk now.
    func batches(in directory: String, ofNode node: String = "node-a") throws -> [SpooledBatch] {
        let log = ByteBuffer(bytes: (try? bytes(of: "\(directory)/spool")) ?? [])
        guard log.readableBytes > 0 else { return [] }
        let format = try SpoolFormat(reading: log, ofNode: node)
        let reader: SpoolIndex.Reader = { offset, length throws(SpoolError) in
            let start = min(offset, log.readableBytes)
            return log.getSlice(at: start, length: min(length, log.readableBytes - start)) ?? ByteBuffer()
        }
        return try SpoolIndex(format, fileBytes: log.readableBytes, read: reader)
            .contents(maximumBytes: .max, read: reader).batches
    }
}
