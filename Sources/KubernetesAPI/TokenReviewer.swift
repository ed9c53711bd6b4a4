// SPDX-License-Identifier: Apache-2.0

public import FlowModel
import HTTPClient
import Synchronization

/// Asks the API server for the identity of a service account's token (`TokenReview`, the API group
/// authentication.k8s.io/v1), and caches its verdict for a while.
public final class TokenReviewer: Sendable {
    /// The API server's verdict on a token.
    public enum Verdict: Equatable, Sendable {
        /// The token is good, and has this identity.
        case authenticated(TokenIdentity)
        /// The token is not good, for this reason.
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
    ///   - cluster: The address of the API server, and the credentials for it.
    ///   - audience: The audience required in the tokens.
    ///   - now: The time since the Unix epoch.
    public init(
        cluster: ClusterConfiguration, audience: String, now: @escaping @Sendable () -> Duration = WallClock.now
    ) {
        self.cluster = cluster
        self.audience = audience
        self.now = now
    }

    /// Returns the remaining lifetime of a token by its own expiry, less than zero once that is over; nil if it has no
    /// expiry.
    public func lifetime(of token: String) -> Duration? { TokenExpiry(of: token)?.lifetime(at: now()) }

    /// Returns the cached verdict on a token; nil if a review is needed.
    public func remembered(_ token: String) -> Verdict? { cache.withLock { $0.verdict(on: token, now: .now) } }

    /// Returns the identity of a token when the API server last accepted it, however long ago; nil if it has denied the
    /// token since, or never accepted it.
    public func lastIdentity(of token: String) -> TokenIdentity? { cache.withLock { $0.lastIdentity(of: token) } }

    /// Reviews a token regardless of the cache; blocks for ten seconds at most. Throws if there is no verdict, when the
    /// token may still be good. A denial with an error, of a token that the API server accepted before, is no verdict
    /// either.
    public func review(_ token: String) throws(TokenReviewFailure) -> Verdict {
        let line = idle.withLock { $0.popLast() } ?? Line(cluster)
        let result = line.client.withLock { client in
            Result { () throws(TokenReviewFailure) in try ask(&client, token) }
        }
        idle.withLock { $0.append(line) }
        let answer = try result.get()
        if answer.hasError, lastIdentity(of: token) != nil, case .denied(let reason) = answer.verdict {
            throw TokenReviewFailure("the API server rejects a token that it accepted before: \(reason)")
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
            // The server's own token may have been replaced.
            client.expireCredentials()
            response = try post(token, &client)
        }
        guard 200..<300 ~= response.status else {
            let status = KubernetesStatus(code: response.status, body: response.body)
            let remedy =
                response.status == 403
                ? "; a ClusterRole must grant the verb create on tokenreviews.authentication.k8s.io to the server's "
                    + "service account" : ""
            throw TokenReviewFailure("the API server rejected the token review: \(status)\(remedy)")
        }
        guard let answer = TokenReview.answer(in: response.body, audience: audience) else {
            throw TokenReviewFailure("the API server's response is not a TokenReview")
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
            case .credentials(let reason): throw TokenReviewFailure("cannot request token reviews: \(reason)")
            case .http(let error):
                throw TokenReviewFailure("cannot request a token review from the API server: \(error)")
            }
        }
    }
}

/// The reason that the API server has not given a verdict on a token.
public struct TokenReviewFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The reason, with the remedy if known.
    public let description: String

    init(_ description: String) { self.description = description }
}
