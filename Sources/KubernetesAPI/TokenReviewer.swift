// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import HTTPClient
import Synchronization

/// Asks the API server whose a service account's token is (`TokenReview`, the API group authentication.k8s.io/v1), and
/// remembers what it said for a while.
public final class TokenReviewer: Sendable {
    /// What the API server says of a token.
    public enum Verdict: Equatable, Sendable {
        /// It is good, and this is whose it is.
        case authenticated(TokenIdentity)
        /// It is not good, for this reason.
        case denied(String)
    }

    private static let path = "/apis/authentication.k8s.io/v1/tokenreviews"
    private static let timeouts = KubernetesClient.Timeouts(
        connectMilliseconds: 5_000, headMilliseconds: 10_000, totalMilliseconds: 10_000)

    /// A connection to the API server, for one thread at a time.
    private final class Line: Sendable {
        let client: Mutex<KubernetesClient>

        init(_ cluster: ClusterConfiguration) { client = Mutex(KubernetesClient(cluster)) }
    }

    private let cluster: ClusterConfiguration
    private let audience: String
    private let now: @Sendable () -> Duration
    private let idle = Mutex<[Line]>([])
    private let cache = Mutex(TokenReviewCache())

    /// - Parameters:
    ///   - cluster: Whose API server is asked.
    ///   - audience: Whom tokens must be meant for.
    ///   - now: The time since the Unix epoch; nil for the system's.
    public init(cluster: ClusterConfiguration, audience: String, now: (@Sendable () -> Duration)? = nil) {
        self.cluster = cluster
        self.audience = audience
        self.now = now ?? { .seconds(Date().timeIntervalSince1970) }
    }

    /// Returns the time for which a token still counts by what it says itself, less than zero where that is over; nil where
    /// it does not say.
    public func lifetime(of token: String) -> Duration? { TokenExpiry(of: token)?.lifetime(at: now()) }

    /// What was said of a token a short while ago; nil where it has to be asked for.
    public func remembered(_ token: String) -> Verdict? { cache.withLock { $0.verdict(on: token, now: .now) } }

    /// Returns whose a token was when the API server last called it good, however long ago; nil where it has called it bad
    /// since, or never good.
    public func lastIdentity(of token: String) -> TokenIdentity? { cache.withLock { $0.lastIdentity(of: token) } }

    /// Asks, which blocks for ten seconds at most, whatever is remembered. Throws where there is no answer; the token may
    /// be good all the same: so where the API server denies one with an error that it called good before.
    public func review(_ token: String) throws(TokenReviewFailure) -> Verdict {
        let line = idle.withLock { $0.popLast() } ?? Line(cluster)
        let result = line.client.withLock { client in
            Result { () throws(TokenReviewFailure) in try ask(&client, token) }
        }
        idle.withLock { $0.append(line) }
        let answer = try result.get()
        if answer.hasError, lastIdentity(of: token) != nil, case .denied(let reason) = answer.verdict {
            throw TokenReviewFailure("the API server no longer knows a token that was good: \(reason)")
        }
        let lifetime = lifetime(of: token)
        cache.withLock { $0.remember(answer.verdict, on: token, tokenLifetime: lifetime, now: .now) }
        return answer.verdict
    }

    private func ask(
        _ client: inout KubernetesClient, _ token: String
    ) throws(TokenReviewFailure) -> TokenReview.Answer {
        var response = try post(token, &client)
        if response.status == 401 {
            // The server's own token may have been exchanged.
            client.expireCredentials()
            response = try post(token, &client)
        }
        guard 200..<300 ~= response.status else {
            let status = KubernetesStatus(code: response.status, body: response.body)
            let remedy =
                response.status == 403
                ? "; a ClusterRole must grant the verb create on tokenreviews.authentication.k8s.io to the server's "
                    + "service account" : ""
            throw TokenReviewFailure("the API server does not review tokens: \(status)\(remedy)")
        }
        guard let answer = TokenReview.answer(in: response.body, audience: audience) else {
            throw TokenReviewFailure("the API server's answer is no TokenReview")
        }
        return answer
    }

    private func post(_ token: String, _ client: inout KubernetesClient) throws(TokenReviewFailure) -> HTTPResponse {
        do throws(KubernetesClientError) {
            try client.refreshCredentials()
            return try client.post(
                Self.path, json: TokenReview.request(token: token, audience: audience), timeouts: Self.timeouts)
        } catch {
            switch error {
            case .credentials(let reason): throw TokenReviewFailure("tokens cannot be reviewed: \(reason)")
            case .http(let error): throw TokenReviewFailure("the API server cannot be asked to review tokens: \(error)")
            }
        }
    }
}

/// Why the API server has not said whose a token is.
public struct TokenReviewFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The reason, with what to do about it where that is known.
    public let description: String

    init(_ description: String) { self.description = description }
}
