// SPDX-License-Identifier: Apache-2.0

public import TransportSecurity

/// Lets in whoever knows a secret.
public struct SharedTokenAuthenticator: AgentAuthenticator {
    /// Why an agent is not let in, for counters.
    enum Reason: String, CaseIterable {
        case missing = "token_missing"
        case wrong = "token_wrong"
        case file = "token_file"
    }

    private let source: TokenSource

    /// - Parameter source: The secrets, any of which will do.
    public init(_ source: TokenSource) { self.source = source }

    /// Compares the agent's token with each secret, in a time that tells nothing of them.
    public func examine(_ claim: AgentClaim) async -> AgentVerdict {
        guard let token = claim.hello.token else {
            return .refused(
                reason: Reason.missing.rawValue,
                explanation: "the agent sends no token: give it the server's in a file and name the file in TOKEN_FILE")
        }
        do {
            var isKnown = false
            for known in try source.tokens() where known.isEqualInConstantTime(to: token) { isKnown = true }
            guard isKnown else {
                return .refused(
                    reason: Reason.wrong.rawValue,
                    explanation: "the agent's token is none of the server's: compare TOKEN_FILE with agent_token_file")
            }
            return .admitted()
        } catch {
            return .undecided(
                reason: Reason.file.rawValue, explanation: "the server cannot read its tokens: \(error)")
        }
    }
}
