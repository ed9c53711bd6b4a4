// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore

/// An open file or directory, closed when the object is released. Every call may block the calling thread.
final class SpoolFile {
    private var path: String
    private let descriptor: CInt

    /// Opens a file. With `O_CREAT` in `flags`, a new file is readable and writable by this user only.
    init(_ path: String, flags: CInt) throws(SpoolError) {
        // O_NONBLOCK: a FIFO of that name must not block the thread.
        descriptor = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw SpoolError("open \(path)", errno: errno) }
        self.path = path
    }

    deinit {
        // Unlocks explicitly: a child process that is being spawned may hold the descriptor for a moment longer.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Locks the file until its descriptor is closed or the process ends.
    func lock() throws(SpoolError) {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw SpoolError("lock \(path)", errno: errno) }
    }

    /// Renames the file; a file that has the new name is replaced.
    func rename(to newPath: String) throws(SpoolError) {
        guard Glibc.rename(path, newPath) == 0 else { throw SpoolError("rename \(path) to \(newPath)", errno: errno) }
        path = newPath
    }

    /// Returns whether the file is still at its path: false once it was removed or replaced.
    func isInPlace() throws(SpoolError) -> Bool {
        var (there, here) = (stat(), stat())
        guard fstat(descriptor, &here) == 0 else { throw SpoolError("stat \(path)", errno: errno) }
        return lstat(path, &there) == 0 && there.st_dev == here.st_dev && there.st_ino == here.st_ino
    }

    /// Reads up to `length` bytes at `offset`, fewer at the end of the file.
    func read(_ offset: Int, _ length: Int) throws(SpoolError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: length)
        while buffer.readableBytes < length {
            let position = offset + buffer.readableBytes
            var failure: CInt = 0
            let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length - buffer.readableBytes) {
                bytes in
                let count = pread(
                    descriptor, bytes.baseAddress, min(bytes.count, offset + length - position), off_t(position))
                if count < 0 { failure = errno }
                return max(0, count)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw SpoolError("read \(path)", errno: failure) }
            if count == 0 { break }
        }
        return buffer
    }

    /// Writes bytes at `offset`.
    func write(_ buffer: ByteBuffer, at offset: Int) throws(SpoolError) {
        var written = 0
        while written < buffer.readableBytes {
            let count = buffer.withUnsafeReadableBytes { bytes in
                pwrite(
                    descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written, off_t(offset + written))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw SpoolError("write \(path)", errno: count < 0 ? errno : ENOSPC) }
            written += count
        }
    }

    /// Truncates the file to `length` bytes; needs no free space.
    func truncate(to length: Int) throws(SpoolError) {
        guard ftruncate(descriptor, off_t(length)) == 0 else { throw SpoolError("truncate \(path)", errno: errno) }
    }

    /// Waits until what was written survives a crash of the node.
    func sync() throws(SpoolError) {
        guard fsync(descriptor) == 0 else { throw SpoolError("fsync \(path)", errno: errno) }
    }
}
