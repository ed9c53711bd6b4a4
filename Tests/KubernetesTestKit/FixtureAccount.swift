// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The service account of a token that an ``APIServerFixture`` knows.
public struct FixtureAccount: Sendable {
    /// The account's name: `system:serviceaccount:NAMESPACE:NAME`.
    public var username: String
    /// The token's audiences.
    public var audiences: [String]
    /// The pod for which the token was issued.
    public var podName: String?
    /// That pod's node, which servers before 1.30 do not report.
    public var nodeName: String?

    /// Makes an account from its parts.
    public init(username: String, audiences: [String], podName: String? = nil, nodeName: String? = nil) {
        self.username = username
        self.audiences = audiences
        self.podName = podName
        self.nodeName = nodeName
    }
}

extension APIServerFixture {
    private struct Review: Codable {
        struct Spec: Codable {
            var token: String?
            var audiences: [String]?
        }
        struct Status: Codable {
            struct User: Codable {
                var username: String
                var uid = "7e1c1a0e-0000-4000-8000-000000000000"
                var groups = ["system:serviceaccounts", "system:authenticated"]
                var extra: [String: [String]]
            }
            var authenticated: Bool?
            var user: User?
            var audiences: [String]?
            var error: String?
        }
        var apiVersion: String
        var kind: String
        var spec: Spec
        var status: Status?
    }

    /// Returns a server's response to a token review; nil if the request is malformed.
    func review(_ body: [UInt8]) -> [UInt8]? {
        guard var review = try? JSONDecoder().decode(Review.self, from: Data(body)), review.kind == "TokenReview",
            review.apiVersion == "authentication.k8s.io/v1"
        else { return nil }
        let wanted = review.spec.audiences ?? ["https://kubernetes.default.svc"]
        if let account = review.spec.token.flatMap({ options.accounts[$0] }),
            account.audiences.contains(where: wanted.contains)
        {
            var extra: [String: [String]] = [:]
            extra["authentication.kubernetes.io/pod-name"] = account.podName.map { [$0] }
            extra["authentication.kubernetes.io/node-name"] = account.nodeName.map { [$0] }
            review.status = Review.Status(
                authenticated: true, user: .init(username: account.username, extra: extra),
                audiences: wanted.filter(account.audiences.contains))
        } else {
            review.status = Review.Status(error: "[invalid bearer token, token audiences do not match]")
        }
        return (try? JSONEncoder().encode(review)).map { Array($0) }
    }
}

extension FixtureAccount {
    /// Returns an unsigned JSON Web Token in the format of a service account's token.
    ///
    /// - Parameters:
    ///   - expiry: The expiry, in seconds since the Unix epoch.
    ///   - padding: A text that makes the token different from others.
    public static func token(expiry: Int, padding: String = "") -> String {
        func part(_ json: String) -> String {
            Data(json.utf8).base64EncodedString().filter { $0 != "=" }.replacing("+", with: "-")
                .replacing("/", with: "_")
        }
        return "\(part(#"{"alg":"RS256"}"#)).\(part(#"{"exp":\#(expiry),"sub":"\#(padding)"}"#)).c2ln"
    }
}
