// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A reason why the spool directory does not hold the unacknowledged batches.
public struct SpoolError: Error, Equatable, CustomStringConvertible {
    /// The kind of an error, by its remedy. The raw values serve as a metric's label.
    public enum Kind: String, CaseIterable, Sendable {
        /// No space or quota is left.
        case full
        /// The file system is mounted read-only.
        case readOnly = "read_only"
        /// The directory is missing, or is not the one that was opened.
        case missing
        /// The process lacks permission.
        case permission
        /// Another agent holds the directory's lock.
        case inUse = "in_use"
        /// The disk does not keep up with the batches.
        case slow
        /// A predecessor's batches do not fit into memory beside this process's own.
        case noRoom = "no_room"
        /// Any other error, such as EIO.
        case io
    }

    /// The kind of the error.
    public let kind: Kind
    /// The attempted operation and its error.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// Makes the error of a failed system call.
    init(_ attempt: String, errno code: CInt) {
        kind =
            switch code {
            case ENOSPC, EDQUOT, EFBIG: .full
            case EROFS: .readOnly
            case ENOENT, ENOTDIR, ESTALE: .missing
            case EACCES, EPERM: .permission
            case EWOULDBLOCK: .inUse
            default: .io
            }
        description = "cannot \(attempt): \(String(cString: strerror(code)))"
    }

    /// Whether the error passes without operator action.
    var isPassing: Bool { kind == .inUse || kind == .noRoom }

    /// The advice for the operator.
    var remedy: String {
        switch kind {
        case .full: "give SPOOL_DIRECTORY 2.5 times SPOOL_BYTES of disk space"
        case .readOnly, .missing, .permission: "mount a writable directory at SPOOL_DIRECTORY"
        case .inUse: "give each agent its own SPOOL_DIRECTORY; an agent that is shutting down releases it soon"
        case .slow, .io: "check the disk that holds SPOOL_DIRECTORY"
        case .noRoom: "no action needed: restoring is retried after a server acknowledges some batches"
        }
    }
}
