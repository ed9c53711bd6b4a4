// SPDX-License-Identifier: Apache-2.0

import LocalFiles

/// The content of a ``CredentialSource``, read again from time to time: a pod's tokens and authorities are rotated.
struct Credential {
    /// The interval between readings of a file. The kubelet replaces a token long before it expires.
    static let interval = Duration.seconds(60)

    let source: CredentialSource
    /// The bytes read last; nil until a reading succeeds. They stay when a later reading fails.
    private(set) var bytes: [UInt8]?
    /// The reason for the last reading's failure; nil if it succeeded.
    private(set) var problem: String?
    private var readAt: ContinuousClock.Instant?

    init(_ source: CredentialSource) {
        self.source = source
        if case .bytes(let bytes) = source { self.bytes = bytes }
    }

    /// Reads the file if that is due.
    mutating func refresh(now: ContinuousClock.Instant) {
        guard case .file(let path) = source else { return }
        if let readAt, now - readAt < Self.interval { return }
        readAt = now
        do throws(LocalFile.Failure) {
            let bytes = try LocalFile.bytes(of: path, maximumBytes: KubernetesLimits.fileBytes)
            // A file may be empty while it is being replaced.
            guard bytes.contains(where: { !Character(Unicode.Scalar($0)).isWhitespace }) else {
                throw LocalFile.Failure(reason: "it is empty")
            }
            self.bytes = bytes
            problem = nil
        } catch {
            problem = "\(path) cannot be read: \(error.reason)"
        }
    }

    /// Makes the next ``refresh(now:)`` read the file whatever its age, because the server has rejected the bytes.
    mutating func expire() { readAt = nil }
}
