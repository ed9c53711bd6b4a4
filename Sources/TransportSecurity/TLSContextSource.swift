// SPDX-License-Identifier: Apache-2.0

public import Logging
public import NIOSSL
public import Secrets
import Synchronization

/// Makes TLS contexts for new connections from files that may change. Open connections keep the context that they were
/// opened with; if changed files are unusable, the previous context stays in use.
///
/// TLS is not set up before the first ``refresh()``.
public final class TLSContextSource: Sendable {
    /// The state of the files and their reloads.
    public struct Statistics: Equatable, Sendable {
        /// When this side's certificate in use expires, in seconds since the Unix epoch; nil if there is none.
        public var certificateNotAfter: Int?
        /// Successful loads of changed files, including the first.
        package var loads: UInt64 = 0
        /// Failed loads; the previous files stay in use.
        public var failures: UInt64 = 0
        /// The files' current problem; nil if there is none.
        public var problem: String?
    }

    private struct State {
        var contents: TLSFiles.Contents?
        var context: NIOSSLContext?
        var statistics = Statistics()
    }

    private let files: TLSFiles
    private let isServer: Bool
    private let logger: Logger
    private let state = Mutex(State())

    /// Makes a source for one side of connections; reads no file yet.
    public init(_ files: TLSFiles, isServer: Bool, logger: Logger) {
        self.files = files
        self.isServer = isServer
        self.logger = logger
    }

    /// The state of the files and their reloads.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// The context for the next connection; nil before the first successful ``refresh()``.
    public var current: NIOSSLContext? { state.withLock { $0.context } }

    /// Reads the files, which blocks, and returns the context for the next connection: a new one if they have changed,
    /// the previous one if they have not or are unusable. Throws if they are unusable and there is no previous one.
    @discardableResult
    public func refresh() throws(CredentialError) -> NIOSSLContext {
        let result = state.withLock { state in
            Result { () throws(CredentialError) in
                do throws(CredentialError) {
                    return try load(&state)
                } catch {
                    state.statistics.failures += 1
                    let isNew = state.statistics.problem != error.description
                    state.statistics.problem = error.description
                    guard let context = state.context else { throw error }
                    if isNew {
                        logger.error(
                            "cannot use the changed TLS files; new connections use the previous ones",
                            metadata: ["error": "\(error)"])
                    }
                    return context
                }
            }
        }
        return try result.get()
    }

    private func load(_ state: inout State) throws(CredentialError) -> NIOSSLContext {
        let contents = try files.read()
        if let context = state.context, contents == state.contents {
            state.statistics.problem = nil
            return context
        }
        let (context, notAfter) = try files.context(of: contents, isServer: isServer)
        state.contents = contents
        state.context = context
        state.statistics.certificateNotAfter = notAfter
        state.statistics.loads += 1
        state.statistics.problem = nil
        if state.statistics.loads > 1 { logger.notice("reloaded the TLS files for new connections") }
        return context
    }
}
