// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import LocalFiles
import TestSupport
import Testing

@testable import ClickHouse

/// A directory with ClickHouse's user and password, removed with the object.
private final class Directory: Sendable {
    let path = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)").path

    init() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try write("writer\n", to: "username")
        try write("secret\nsecond line", to: "password")
    }

    deinit {
        chmod(path, 0o700)
        try? FileManager.default.removeItem(atPath: path)
    }

    func write(_ text: String, to name: String) throws {
        try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
    }

    func credentials(in name: String = "", areDefaults: Bool = false) -> ClickHouseCredentials {
        .files(user: "\(path)\(name)/username", password: "\(path)\(name)/password", areDefaults: areDefaults)
    }
}

@Suite struct ClickHouseCredentialsTests {
    @Test("user and password are the first lines of their files, without a byte order mark")
    func lines() throws {
        let directory = try Directory()
        #expect(try directory.credentials().read() == ("writer", "secret"))
        try directory.write("\u{FEFF}reader", to: "username")
        #expect(try directory.credentials().read() == ("reader", "secret"))
    }

    @Test("a missing file counts as an empty one, also below a file that is no directory", arguments: [false, true])
    func missing(areDefaults: Bool) throws {
        let directory = try Directory()
        for name in ["/missing", "/username"] {
            let credentials = directory.credentials(in: name, areDefaults: areDefaults)
            #expect(try credentials.read() == ("", ""))
            #expect(credentials.warning == nil)
        }
    }

    @Test("configured files in a directory that may not be searched are an error with the path and the remedy")
    func hidden() throws {
        let directory = try Directory()
        chmod(directory.path, 0)
        let error = try FilePermissions.apply {
            #expect(throws: LocalFile.Failure.self) { try directory.credentials().read() }
        }
        let remedy = "user \(geteuid()) must be allowed to search the directories above it"
        #expect(error?.reason == "\(directory.path)/username: Permission denied; \(remedy)")
        #expect(directory.credentials().warning == nil)
    }

    @Test("files at their default path in a directory that may not be searched count as missing, with a warning")
    func hiddenDefaults() throws {
        let directory = try Directory()
        chmod(directory.path, 0)
        let (read, warning) = try FilePermissions.apply {
            let credentials = directory.credentials(areDefaults: true)
            return (try credentials.read(), credentials.warning)
        }
        #expect(read == ("", ""))
        #expect(warning?.hasPrefix("\(directory.path)/username is not used: Permission denied; ") == true)
    }

    @Test(
        "a file that exists and may not be read is an error, be it at its default path or not",
        arguments: [false, true])
    func denied(areDefaults: Bool) throws {
        let directory = try Directory()
        chmod("\(directory.path)/password", 0)
        let error = try FilePermissions.apply {
            #expect(throws: LocalFile.Failure.self) { try directory.credentials(areDefaults: areDefaults).read() }
        }
        #expect(error?.reason.hasPrefix("\(directory.path)/password: Permission denied; ") == true)
    }

    @Test("a pipe is refused: a request would wait for its writer")
    func pipe() throws {
        let directory = try Directory()
        try FileManager.default.removeItem(atPath: "\(directory.path)/password")
        #expect(mkfifo("\(directory.path)/password", 0o600) == 0)
        #expect(throws: LocalFile.Failure(reason: "\(directory.path)/password: it is not a regular file")) {
            try directory.credentials().read()
        }
    }
}
