// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Where the tests' own files and the built programs are.
public enum Repository {
    /// The top of the repository.
    public static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// A file or folder of the repository.
    public static func file(_ path: String) -> URL { root.appending(path: path) }

    /// A program that was built with the tests.
    public static func program(_ name: String) -> URL {
        // The test runner stands among the build's products, or in a bundle beside them.
        var folder = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        while folder.path != "/" {
            let program = folder.appending(path: name)
            if FileManager.default.isExecutableFile(atPath: program.path) { return program }
            folder.deleteLastPathComponent()
        }
        return file(".build/debug/\(name)")
    }
}
