// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A file's bytes, and the version by which a change is detected.
struct LocalFile {
    /// Attributes that change with a file's content, also when a symbolic link is redirected, as Kubernetes does with a
    /// ConfigMap's files.
    struct Version: Equatable, Sendable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let seconds: Int
        let nanoseconds: Int
    }

    /// The reason that a file cannot be read or written.
    struct Failure: Error, Equatable {
        let reason: String

        /// The failure in `errno`.
        static var last: Failure { Failure(reason: String(cString: strerror(errno))) }
    }

    let version: Version
    let bytes: [UInt8]

    /// Reads a file of at most `maximumBytes`; returns nil if its version is still `known`.
    static func read(_ path: String, unless known: Version? = nil, maximumBytes: Int) throws(Failure) -> LocalFile? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .last }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw .last }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(reason: "not a file") }
        let version = Version(
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino), size: Int64(status.st_size),
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
        if version == known { return nil }
        guard version.size <= maximumBytes else {
            throw Failure(reason: "larger than \(maximumBytes) bytes")
        }
        var failure: Failure?
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(version.size)) { buffer, count in
            while count < buffer.count {
                let length = Glibc.read(file, buffer.baseAddress.map { $0 + count }, buffer.count - count)
                if length < 0 && errno == EINTR { continue }
                if length < 0 { failure = .last }
                guard length > 0 else { return }
                count += length
            }
        }
        if let failure { throw failure }
        return LocalFile(version: version, bytes: bytes)
    }

    /// Replaces a file atomically: readers see the old one or the new one, even after a crash.
    static func replace(_ path: String, with parts: [[UInt8]]) throws(Failure) {
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
        guard rename(temporary, path) == 0 else { throw .last }
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
