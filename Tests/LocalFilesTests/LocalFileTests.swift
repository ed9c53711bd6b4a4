// SPDX-License-Identifier: Apache-2.0

import Foundation
import LocalFiles
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
        #expect(throws: LocalFile.Failure(reason: "it is larger than 1 MiB")) {
            try LocalFile.bytes(of: "/dev/zero", maximumBytes: 1 << 20)
        }
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
