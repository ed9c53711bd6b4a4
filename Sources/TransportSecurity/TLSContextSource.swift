// SPDX-License-Identifier: Apache-2.0

public import Logging
public import NIOSSL
import Synchronization

/// Makes new connections' TLS contexts of files that change: what is open keeps the context that it was opened with, and
/// files that are of no use change nothing.
///
/// Nothing of TLS is set up before the first ``refresh()``.
public final class TLSContextSource: Sendable {
    /// What has become of the files so far.
    public struct Statistics: Equatable, Sendable {
        /// When the own certificate that is in use expires, in seconds since the Unix epoch; nil where there is none.
        public var certificateNotAfter: Int?
        /// Times that changed files came into use, the first included.
        public var loads: UInt64 = 0
        /// Times that the files were of no use.
        public var failures: UInt64 = 0
        /// What is wrong with the files; nil where nothing is.
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

    /// Names the files, and on which side of connections they are used.
    public init(_ files: TLSFiles, isServer: Bool, logger: Logger) {
        self.files = files
        self.isServer = isServer
        self.logger = logger
    }

    /// What has become of the files so far.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// The context for the next connection; nil before the first ``refresh()`` that succeeded.
    public var current: NIOSSLContext? { state.withLock { $0.context } }

    /// Reads the files, which blocks, and returns the context for the next connection: a new one where they have changed,
    /// the one before where they are of no use. Throws where there is none yet.
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
                            "new TLS files are of no use; connections are opened with those before",
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
        if state.statistics.loads > 1 { logger.notice("changed TLS files are used for new connections") }
        return context
    }
}
