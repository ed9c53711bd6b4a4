// SPDX-License-Identifier: Apache-2.0

import FlowModel
import FlowWire
import Foundation
import NIOCore
import TestSupport
import Testing

@testable import FlowExport

@Suite struct SpoolDirectoryTests {
    private let agentID = AgentID(bits: 7)

    private func directory(_ folder: SpoolFolder, node: String = "node-a", bound: Int = 1 << 20) -> SpoolDirectory {
        SpoolDirectory("\(folder.path)/d", node: node, maximumBytes: bound)
    }

    private func batches(_ sequences: ClosedRange<UInt64>) -> [SpooledBatch] {
        sequences.map { SpooledBatch(agentID: agentID, batch: .test($0)) }
    }

    /// Opens an empty directory and writes these batches to it.
    private func fill(_ directory: inout SpoolDirectory, _ batches: [SpooledBatch]) throws(SpoolError) {
        _ = try directory.open(usedBytes: 0, without: [])
        try directory.replace(with: [])
        for batch in batches { try directory.append(batch) }
        try directory.flush()
    }

    private func reopen(
        _ directory: inout SpoolDirectory, usedBytes: Int = 0
    ) throws(SpoolError) -> SpoolDirectory.Found {
        try directory.open(usedBytes: usedBytes, without: [])
    }

    private func error(_ body: () throws -> Void) -> SpoolError.Kind? {
        do {
            try body()
            return nil
        } catch {
            return (error as? SpoolError)?.kind
        }
    }

    @Test("appended batches are found again unless they are acknowledged")
    func reopening() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        let batches = batches(1...5)
        try fill(&directory, batches)
        directory.append(acknowledged: [batches[1].key, batches[3].key], frameBytes: 0)
        try directory.flush()
        let found = try reopen(&directory).contents
        #expect(found.batches.map(\.key.sequence) == [1, 3, 5])
        #expect(found.batches.map(\.batch.frame) == [0, 2, 4].map { batches[$0].batch.frame })
        #expect(try folder.names(in: "d") == ["lock", "spool"])
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder.path)/d/spool")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test("a log whose batches are all acknowledged is emptied")
    func emptying() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        for _ in 0..<3 {
            let batches = batches(1...4)
            if directory.logBytes == 0 { try fill(&directory, []) }
            for batch in batches { try directory.append(batch) }
            try directory.flush()
            for batch in batches {
                directory.append(acknowledged: [batch.key], frameBytes: batch.batch.frame.readableBytes)
            }
            try directory.flush()
            #expect(directory.logBytes == SpoolFormat.headerBytes && directory.deadBytes == 0)
            #expect(try folder.bytes(of: "d/spool").count == SpoolFormat.headerBytes)
        }
        #expect(try reopen(&directory).contents.batches.isEmpty)
    }

    @Test("a log is replaced atomically, and an unfinished replacement is ignored")
    func replacing() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        try fill(&directory, batches(1...3))
        try folder.write([1, 2, 3], to: "d/spool.new")
        #expect(try reopen(&directory).contents.batches.count == 3)
        try directory.replace(with: batches(7...9))
        try directory.append(batches(10...10)[0])
        try directory.flush()
        #expect(try reopen(&directory).contents.batches.map(\.key.sequence) == [7, 8, 9, 10])
        #expect(try folder.names(in: "d") == ["lock", "spool"])
    }

    @Test("a directory is used by one process at a time")
    func locking() throws {
        let folder = try SpoolFolder()
        var (first, second) = (directory(folder), directory(folder))
        try fill(&first, batches(1...2))
        #expect(error { _ = try second.open(usedBytes: 0, without: []) } == .inUse)
        first.close()
        #expect(try reopen(&second).contents.batches.count == 2)
    }

    @Test("files that are not a log of this node are renamed, and three of them are kept")
    func settingAside() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/d", withIntermediateDirectories: true)
        for number in UInt8(1)...5 {
            try folder.write([number], to: "d/spool")
            #expect(try reopen(&directory).setAside == "it does not have the header of a spool file")
        }
        #expect(
            try folder.names(in: "d") == ["lock", "spool.corrupt.1", "spool.corrupt.2", "spool.corrupt.3"])
        #expect(try (1...3).map { try folder.bytes(of: "d/spool.corrupt.\($0)") } == [[5], [4], [3]])

        var other = self.directory(folder, node: "node-b")
        directory.close()
        try fill(&other, batches(1...1))
        other.close()
        #expect(try reopen(&directory).setAside == "it belongs to the node node-b")
        try FileManager.default.createDirectory(atPath: "\(folder.path)/d/spool", withIntermediateDirectories: true)
        #expect(try reopen(&directory).setAside == "it is not a regular file")
        mkfifo("\(folder.path)/d/spool", 0o600)
        #expect(try reopen(&directory).setAside == "it is not a regular file")
        try directory.replace(with: batches(1...1))
        #expect(try reopen(&directory).contents.batches.count == 1)
    }

    @Test("an empty file is an empty log")
    func emptyFile() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        try FileManager.default.createDirectory(atPath: "\(folder.path)/d", withIntermediateDirectories: true)
        try folder.write([], to: "d/spool")
        let found = try reopen(&directory)
        #expect(found.setAside == nil && found.contents.batches.isEmpty)
    }

    @Test("a full disk loses what does not fit, and clearing the log needs no space")
    func fullDisk() async throws {
        let folder = try await SpoolFolder(kibibytes: 64)
        var directory = directory(folder)
        try fill(&directory, [])
        var written = 0
        let failure = error {
            while true {
                try directory.append(SpooledBatch(agentID: agentID, batch: .test(UInt64(written + 1))))
                try directory.flush()
                written += 1
            }
        }
        #expect(failure == .full && written > 100)
        directory.dropUnwritten()
        #expect(try folder.batches(in: "d").count == written)
        let all = batches(1...UInt64(written))
        #expect(error { try directory.replace(with: all) } == .full)
        #expect(try folder.names(in: "d") == ["lock", "spool"])
        #expect(try folder.batches(in: "d").count == written)
        try directory.clear()
        #expect(try folder.batches(in: "d").isEmpty)
        try directory.replace(with: Array(all.prefix(10)))
        #expect(try reopen(&directory).contents.batches.count == 10)
    }

    @Test("each failure to open a directory has its own type")
    func kinds() async throws {
        let folder = try await SpoolFolder(kibibytes: 64)
        var directory = directory(folder)
        try fill(&directory, batches(1...2))
        directory.close()
        try await folder.setReadOnly(true)
        #expect(error { _ = try directory.open(usedBytes: 0, without: []) } == .readOnly)
        try await folder.setReadOnly(false)
        #expect(try reopen(&directory).contents.batches.count == 2)

        var missing = SpoolDirectory("\(folder.path)/a/b", node: "node-a", maximumBytes: 1)
        #expect(error { _ = try missing.open(usedBytes: 0, without: []) } == .missing)
        var forbidden = SpoolDirectory("/sys/kubenetmon", node: "node-a", maximumBytes: 1)
        #expect(error { _ = try forbidden.open(usedBytes: 0, without: []) } == .permission)
        var file = SpoolDirectory("\(folder.path)/d/spool", node: "node-a", maximumBytes: 1)
        #expect(error { _ = try file.open(usedBytes: 0, without: []) } == .missing)
        for (code, kind) in [(EIO, SpoolError.Kind.io), (ENOSPC, .full), (EDQUOT, .full), (EACCES, .permission)] {
            #expect(SpoolError("write", errno: code).kind == kind)
        }
    }

    @Test("a removed directory is noticed at the next fsync")
    func removal() throws {
        let folder = try SpoolFolder()
        var directory = directory(folder)
        try fill(&directory, batches(1...1))
        try directory.sync()
        try folder.remove("d")
        try directory.append(batches(2...2)[0])
        try directory.flush()
        #expect(error { try directory.sync() } == .missing)
        #expect(try reopen(&directory).contents.batches.isEmpty)
    }

    @Test("batches without room beside the process's own stay in the log, and those that never fit are counted")
    func room() throws {
        let folder = try SpoolFolder()
        var large = directory(folder, bound: 8 << 20)
        var frame = ByteBuffer(integer: UInt32(1 << 20))
        frame.writeRepeatingByte(0, count: 1 << 20)
        let batches = (1...4).map { sequence in
            SpooledBatch(
                agentID: agentID,
                batch: ExportBatch(
                    sequence: sequence, observedAtMilliseconds: 0, frame: frame,
                    amount: FlowAmount(flows: 1, bytes: 10)))
        }
        try fill(&large, batches)
        #expect(error { _ = try large.open(usedBytes: 6 << 20, without: []) } == .noRoom)
        #expect(try reopen(&large, usedBytes: 4 << 20).contents.batches.count == 4)
        large.close()
        var small = directory(folder, bound: (2 << 20) - 1)
        let found = try reopen(&small).contents
        #expect(found.batches.count == 2 && found.excess == FlowAmount(flows: 2, bytes: 20))
    }
}
