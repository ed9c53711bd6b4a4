// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import LocalFiles
import TestSupport
import Testing

@Suite struct LocalFileTests {
    private let path = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)").path

    @Test("A file is read up to its limit, and one byte more is an error that names the limit")
    func limit() throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        try LocalFile.replace(path, with: [bytes])
        #expect(try LocalFile.bytes(of: path, maximumBytes: 1 << 20) == bytes)
        try LocalFile.replace(path, with: [bytes, [1]])
        let error = #expect(throws: LocalFile.Failure.self) { try LocalFile.bytes(of: path, maximumBytes: 1 << 20) }
        #expect(error?.reason == "it is larger than 1 MiB")
        let small = #expect(throws: LocalFile.Failure.self) { try LocalFile.bytes(of: path, maximumBytes: 1000) }
        #expect(small?.reason == "it is larger than 1000 bytes")
    }

    @Test("A file without a size, as in /proc, is read to its end")
    func withoutSize() throws {
        let text = String(decoding: try LocalFile.bytes(of: "/proc/self/status", maximumBytes: 1 << 20), as: UTF8.self)
        #expect(text.hasPrefix("Name:") && text.hasSuffix("\n"))
    }

    @Test("A pipe or a device is refused and not waited for, whether or not it has a writer")
    func notRegular() throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(mkfifo(path, 0o600) == 0)
        let refusal = LocalFile.Failure(reason: "it is not a regular file")
        #expect(throws: refusal) { try LocalFile.bytes(of: path, maximumBytes: 1 << 20) }
        // Opened for reading too, it has a reader and a writer, and the writer never ends.
        let writer = try #require(FileHandle(forUpdatingAtPath: path))
        try writer.write(contentsOf: Data("text".utf8))
        #expect(throws: refusal) { try LocalFile.bytes(of: path, maximumBytes: 1 << 20) }
        #expect(throws: refusal) { try LocalFile.bytes(of: "/dev/zero", maximumBytes: 1 << 20) }
        try writer.close()
    }

    @Test("A pipe is read to its end, up to the limit, if that is asked for")
    func streams() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("text".utf8))
        try pipe.fileHandleForWriting.close()
        let path = "/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)"
        let bytes = try LocalFile.bytes(of: path, maximumBytes: 4, acceptsStreams: true)
        #expect(bytes == Array("text".utf8))
        #expect(throws: LocalFile.Failure(reason: "it is larger than 1 MiB")) {
            try LocalFile.bytes(of: "/dev/zero", maximumBytes: 1 << 20, acceptsStreams: true)
        }
    }

    @Test("A file is read through the links by which Kubernetes mounts secrets")
    func mountedSecret() throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.createDirectory(atPath: path + "/..1", withIntermediateDirectories: true)
        try LocalFile.replace(path + "/..1/token", with: [[7]])
        try FileManager.default.createSymbolicLink(atPath: path + "/..data", withDestinationPath: "..1")
        try FileManager.default.createSymbolicLink(atPath: path + "/token", withDestinationPath: "..data/token")
        #expect(try LocalFile.bytes(of: path + "/token", maximumBytes: 1) == [7])
    }

    @Test("A denied file is told apart from one in a directory that may not be searched")
    func denied() throws {
        defer {
            chmod(path, 0o700)
            try? FileManager.default.removeItem(atPath: path)
        }
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let file = path + "/file"
        try LocalFile.replace(file, with: [[1]])
        chmod(file, 0)
        func failure() throws -> LocalFile.Failure? {
            try FilePermissions.apply {
                #expect(throws: LocalFile.Failure.self) { try LocalFile.bytes(of: file, maximumBytes: 1) }
            }
        }
        let denied = try failure()
        #expect(denied?.reason == "Permission denied; user \(geteuid()) must be allowed to read it")
        #expect(denied?.isHidden == false && denied?.isMissing == false)
        chmod(path, 0)
        let hidden = try failure()
        #expect(
            hidden?.reason == "Permission denied; user \(geteuid()) must be allowed to search the directories above it")
        #expect(hidden?.isHidden == true && hidden?.isMissing == false)
    }

    @Test("A missing file is told apart from one that cannot be read")
    func missing() throws {
        let missing = #expect(throws: LocalFile.Failure.self) { try LocalFile.bytes(of: path, maximumBytes: 1) }
        #expect(missing?.isMissing == true && missing?.reason == "No such file or directory")
        let directory = #expect(throws: LocalFile.Failure.self) { try LocalFile.bytes(of: "/tmp", maximumBytes: 1) }
        #expect(directory?.isMissing == false && directory?.reason == "Is a directory")
    }

    @Test("A file is read again only after a change, also of the link that names it")
    func version() throws {
        let (first, second) = (path + ".1", path + ".2")
        defer { for name in [path, first, second] { try? FileManager.default.removeItem(atPath: name) } }
        try LocalFile.replace(first, with: [[1]])
        try LocalFile.replace(second, with: [[2]])
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: first)
        let file = try #require(try LocalFile.read(path, maximumBytes: 10))
        #expect(file.bytes == [1])
        #expect(try LocalFile.read(path, unless: file.version, maximumBytes: 10) == nil)
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: second)
        #expect(try LocalFile.read(path, unless: file.version, maximumBytes: 10)?.bytes == [2])
    }

    @Test("A failed replacement leaves the file before and nothing else")
    func failedReplacement() throws {
        let directory = path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // A directory cannot be replaced by a file.
        try FileManager.default.createDirectory(atPath: directory + "/list", withIntermediateDirectories: true)
        #expect(throws: LocalFile.Failure.self) { try LocalFile.replace(directory + "/list", with: [[1]]) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["list"])
    }
}
