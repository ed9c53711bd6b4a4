// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The identity of a service account's token.
public struct TokenIdentity: Equatable, Sendable {
    /// The account: `system:serviceaccount:NAMESPACE:NAME`.
    public var username: String
    /// The pod for which the token was issued; nil if the API server does not give it.
    var podName: String?
    /// The node of that pod; nil before Kubernetes 1.30, and for tokens without a pod
    /// (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/).
    public var nodeName: String?

    /// Makes an identity from its parts.
    init(username: String, podName: String? = nil, nodeName: String? = nil) {
        self.username = username
        self.podName = podName
        self.nodeName = nodeName
    }
}

/// The JSON of the API's `TokenReview`, limited to the fields in use.
enum TokenReview {
    private struct Request: Encodable {
        struct Spec: Encodable {
            let token: String
            let audiences: [String]
        }
        let apiVersion = "authentication.k8s.io/v1"
        let kind = "TokenReview"
        let spec: Spec
    }

    private struct Response: Decodable {
        struct Status: Decodable {
            struct User: Decodable {
                let username: String?
                let extra: [String: [String]]?
            }
            let authenticated: Bool?
            let user: User?
            let audiences: [String]?
            let error: String?
        }
        let kind: String?
        let status: Status?
    }

    /// Returns the body of a request to review a token for an audience.
    static func request(token: String, audience: String) -> [UInt8] {
        let request = Request(spec: Request.Spec(token: token, audiences: [audience]))
        // Strings can always be encoded.
        return (try? JSONEncoder().encode(request)).map { Array($0) } ?? []
    }

    /// The API server's response.
    struct Answer: Equatable {
        let verdict: TokenReviewer.Verdict
        /// Whether one of the API server's authenticators has failed, even if only because it does not know the token.
        var hasError = false
    }

    /// Returns the response in a body; nil if it contains none.
    ///
    /// An API server that does not check audiences returns no audience: such a token is meant for the API server
    /// itself.
    static func answer(in body: [UInt8], audience: String) -> Answer? {
        guard let response = try? JSONDecoder().decode(Response.self, from: Data(body)),
            response.kind == "TokenReview", let status = response.status
        else { return nil }
        guard status.authenticated == true else {
            let reason = status.error.flatMap { $0.isEmpty ? nil : $0 }
            return Answer(
                verdict: .denied(reason ?? "the token is unknown to the API server, or it has expired"),
                hasError: reason != nil)
        }
        guard status.audiences?.contains(audience) == true else {
            return Answer(verdict: .denied("the token does not have the audience \(audience)"))
        }
        guard let user = status.user, let username = user.username, !username.isEmpty else { return nil }
        func extra(_ name: String) -> String? { user.extra?["authentication.kubernetes.io/\(name)"]?.first }
        return Answer(
            verdict: .authenticated(
                TokenIdentity(username: username, podName: extra("pod-name"), nodeName: extra("node-name"))))
    }
}
