// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why the spool directory does not hold what is unacknowledged.
public struct SpoolError: Error, Equatable, CustomStringConvertible {
    /// What can mend it. The raw values are fit for a metric's label.
    public enum Kind: String, CaseIterable, Sendable {
        /// No space or quota is left.
        case full
        /// The file system is mounted read-only.
        case readOnly = "read_only"
        /// The directory is not there, or not the one that was opened.
        case missing
        /// The process may not.
        case permission
        /// Another agent has the directory.
        case inUse = "in_use"
        /// Writing does not keep up with collections.
        case slow
        /// A predecessor's batches do not fit into memory beside this process's own.
        case noRoom = "no_room"
        /// Everything else, such as EIO.
        case io
    }

    /// What can mend it.
    public let kind: Kind
    /// What was attempted, and what came of it.
    public let description: String

    init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// An error of a system call.
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

    /// Whether it passes without anybody's doing.
    var isPassing: Bool { kind == .inUse || kind == .noRoom }

    /// What to do about it.
    var remedy: String {
        switch kind {
        case .full: "give the spool directory two and a half times SPOOL_BYTES"
        case .readOnly, .missing, .permission: "mount a writable directory at SPOOL_DIRECTORY"
        case .inUse: "give each agent a directory of its own; a predecessor that is ending frees it soon"
        case .slow, .io: "look at the disk that SPOOL_DIRECTORY is on"
        case .noRoom: "nothing: it is tried again when a server has taken some of it"
        }
    }
}
