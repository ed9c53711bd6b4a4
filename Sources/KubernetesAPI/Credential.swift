// SPDX-License-Identifier: Apache-2.0

/// What a ``CredentialSource`` holds, read again from time to time: tokens and authorities of a pod are rotated.
struct Credential {
    /// How long what was read counts. The kubelet exchanges a token long before it expires.
    static let interval = Duration.seconds(60)

    let source: CredentialSource
    /// What was read last; nil until that succeeds. It stays when a later reading fails.
    private(set) var bytes: [UInt8]?
    /// Why the last reading failed; nil where it did not.
    private(set) var problem: String?
    private var readAt: ContinuousClock.Instant?

    init(_ source: CredentialSource) {
        self.source = source
        if case .bytes(let bytes) = source { self.bytes = bytes }
    }

    /// Reads the file where that is due.
    mutating func refresh(now: ContinuousClock.Instant) {
        guard case .file(let path) = source else { return }
        if let readAt, now - readAt < Self.interval { return }
        readAt = now
        do throws(FileError) {
            let bytes = try readFile(path)
            // While a file is being replaced it may be empty.
            guard bytes.contains(where: { !Character(Unicode.Scalar($0)).isWhitespace }) else {
                throw FileError(reason: "it is empty")
            }
            self.bytes = bytes
            problem = nil
        } catch {
            problem = "\(path) cannot be read: \(error.reason)"
        }
    }

    /// Makes the next ``refresh(now:)`` read the file whatever its age: what was read is refused.
    mutating func expire() { readAt = nil }
}
