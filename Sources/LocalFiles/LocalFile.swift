// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A file's bytes, and the version by which a change is detected.
public struct LocalFile: Sendable {
    /// Attributes that change with a file's content, also when a symbolic link is redirected, as Kubernetes does with a
    /// ConfigMap's files.
    public struct Version: Equatable, Sendable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        /// The time of the last change, in seconds since the Unix epoch.
        public let seconds: Int
        let nanoseconds: Int
    }

    /// The reason that a file cannot be read or written.
    public struct Failure: Error, Equatable, Sendable, CustomStringConvertible {
        /// The reason, without the file's path.
        public let reason: String
        /// Whether there is no file of that name.
        public let isMissing: Bool
        /// Whether this process may not search a directory of the path, so that it cannot know if there is a file.
        public let isHidden: Bool

        /// Makes a failure from its reason.
        public init(reason: String) {
            self.reason = reason
            (isMissing, isHidden) = (false, false)
        }

        /// - Parameter path: The path that was opened for reading, if that failed. The reason for a denial then says what
        ///   must be allowed.
        init(code: Int32, opening path: String? = nil) {
            var (reason, isHidden) = (String(cString: strerror(code)), false)
            if code == EACCES, let path {
                var status = stat()
                isHidden = stat(path, &status) != 0 && errno == EACCES
                let access = isHidden ? "search the directories above it" : "read it"
                reason += "; user \(geteuid()) must be allowed to \(access)"
            }
            self.reason = reason
            isMissing = code == ENOENT || code == ENOTDIR
            self.isHidden = isHidden
        }

        /// The failure in `errno`.
        static var last: Failure { Failure(code: errno) }

        /// The reason.
        public var description: String { reason }
    }

    /// The file's version when it was opened.
    public let version: Version
    /// The file's content.
    public let bytes: [UInt8]

    /// Reads a file of at most `maximumBytes`; returns nil if its version is still `known`. Links are followed.
    ///
    /// A read of a pipe or a terminal blocks until its writer ends. It is therefore refused unless `acceptsStreams` is
    /// true, which suits a file that is read once, at the start: `/dev/stdin`, or a shell's `<(command)`.
    public static func read(
        _ path: String, unless known: Version? = nil, maximumBytes: Int, acceptsStreams: Bool = false
    ) throws(Failure) -> LocalFile? {
        // Without O_NONBLOCK, which regular files ignore, a pipe is opened only when a writer opens it too.
        let file = open(path, O_RDONLY | O_CLOEXEC | (acceptsStreams ? 0 : O_NONBLOCK))
        guard file >= 0 else { throw Failure(code: errno, opening: path) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw .last }
        let version = Version(
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        if version == known { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: guard version.size <= maximumBytes else { throw tooLarge(maximumBytes) }
        case S_IFDIR: throw Failure(code: EISDIR)
        default: guard acceptsStreams else { throw Failure(reason: "it is not a regular file") }
        }
        return LocalFile(version: version, bytes: try bytes(in: file, maximumBytes: maximumBytes))
    }

    /// Returns the bytes of a file of at most `maximumBytes`; see ``read(_:unless:maximumBytes:acceptsStreams:)``.
    public static func bytes(
        of path: String, maximumBytes: Int, acceptsStreams: Bool = false
    ) throws(Failure) -> [UInt8] {
        try read(path, maximumBytes: maximumBytes, acceptsStreams: acceptsStreams)?.bytes ?? []
    }

    /// Reads up to the end: a file of /proc, or a pipe, has no size.
    private static func bytes(in file: Int32, maximumBytes: Int) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .last }
            guard count > 0 else { return bytes }
            guard bytes.count + count <= maximumBytes else { throw tooLarge(maximumBytes) }
            bytes += chunk[..<count]
        }
    }

    private static func tooLarge(_ limit: Int) -> Failure {
        let isRound = limit > 0 && limit.isMultiple(of: 1 << 20)
        return Failure(reason: "it is larger than \(isRound ? "\(limit >> 20) MiB" : "\(limit) bytes")")
    }

    /// Replaces a file atomically: readers see the old one or the new one, even after a crash.
    public static func replace(_ path: String, with parts: [[UInt8]]) throws(Failure) {
        let temporary = path + ".new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw .last }
        var isWritten = true
        for part in parts where isWritten { isWritten = write(part, to: file) }
        // Without fsync, a machine that crashes may leave an empty file under the new name.
        isWritten = isWritten && fsync(file) == 0
        let failure = isWritten ? nil : Failure.last
        close(file)
        if let failure {
            unlink(temporary)
            throw failure
        }
        guard rename(temporary, path) == 0 else {
            let failure = Failure.last
            unlink(temporary)
            throw failure
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let length = Glibc.write(file, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if length < 0 && errno == EINTR { continue }
                guard length > 0 else { return false }
                rest = rest.dropFirst(length)
            }
            return true
        }
    }
}
