// SPDX-License-Identifier: Apache-2.0

public import Logging
import Synchronization

/// The tokens of a file that may change; the previous tokens stay in use while it cannot be read.
public final class TokenSource: Sendable {
    private struct State {
        var tokens: [BearerToken] = []
        var readAt: ContinuousClock.Instant?
        var problem: String?
    }

    private let file: TokenFile
    private let interval: Duration
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameters:
    ///   - file: The file.
    ///   - interval: The time for which tokens are used before the file is read again.
    ///   - logger: The logger for failures to read the file.
    public init(_ file: TokenFile, interval: Duration = .seconds(10), logger: Logger) {
        self.file = file
        self.interval = interval
        self.logger = logger
    }

    /// Returns the current tokens; reads the file if the interval has passed, which blocks. Throws if no read has
    /// succeeded yet.
    public func tokens() throws(CredentialError) -> [BearerToken] {
        let result = state.withLock { state -> Result<[BearerToken], CredentialError> in
            let now = ContinuousClock.now
            if let readAt = state.readAt, now - readAt < interval, !state.tokens.isEmpty {
                return .success(state.tokens)
            }
            state.readAt = now
            do throws(CredentialError) {
                state.tokens = try file.read()
                state.problem = nil
            } catch {
                guard !state.tokens.isEmpty else { return .failure(error) }
                if state.problem != error.description {
                    state.problem = error.description
                    logger.error(
                        "cannot use the token file; the previous tokens stay in use", metadata: ["error": "\(error)"])
                }
            }
            return .success(state.tokens)
        }
        return try result.get()
    }
}
