// SPDX-License-Identifier: Apache-2.0

public import Secrets

/// Admits agents that present an accepted token.
public struct SharedTokenAuthenticator: AgentAuthenticator {
    /// The reasons for not admitting an agent, for counters.
    enum Reason: String, CaseIterable {
        case missing = "token_missing"
        case wrong = "token_wrong"
        case file = "token_file"
    }

    private let source: TokenSource

    /// - Parameter source: The accepted tokens, of which an agent must present one.
    public init(_ source: TokenSource) { self.source = source }

    /// Compares the agent's token with each accepted one, in a time that reveals nothing about them.
    public func examine(_ claim: AgentClaim) async -> AgentVerdict {
        guard let token = claim.hello.token else {
            return .refused(
                reason: Reason.missing.rawValue,
                explanation: """
                    the agent sent no token: put a token of agent_token_file into a file, and set TOKEN_FILE to its path
                    """)
        }
        do {
            var isKnown = false
            for known in try source.tokens() where known.isEqualInConstantTime(to: token) { isKnown = true }
            guard isKnown else {
                return .refused(
                    reason: Reason.wrong.rawValue,
                    explanation: "the agent's token is not in agent_token_file: compare TOKEN_FILE with it")
            }
            return .admitted()
        } catch {
            return .undecided(
                reason: Reason.file.rawValue, explanation: "the server cannot read its tokens: \(error)")
        }
    }
}
