// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Locations of the repository's files and of the built programs.
public enum Repository {
    /// The repository's root folder.
    public static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Returns a file or folder of the repository.
    public static func file(_ path: String) -> URL { root.appending(path: path) }

    /// Returns a program that was built with the tests.
    public static func program(_ name: String) -> URL {
        // The test runner is among the build products, or in a bundle beside them.
        var folder = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        while folder.path != "/" {
            let program = folder.appending(path: name)
            if FileManager.default.isExecutableFile(atPath: program.path) { return program }
            folder.deleteLastPathComponent()
        }
        return file(".build/debug/\(name)")
    }
}
