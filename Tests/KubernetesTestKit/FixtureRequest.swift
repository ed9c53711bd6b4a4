// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A request to an ``APIServerFixture``.
public struct FixtureRequest: Equatable, Sendable {
    /// The kind of a request.
    public enum Kind: Equatable, Sendable {
        /// A list, or the first page of one.
        case list
        /// A later page of a list.
        case page
        /// A watch that continues from a version.
        case watch
        /// A watch that begins with the existing objects.
        case streamingList
        /// A request for the newest version: a list of one object.
        case version
        /// A review of a token.
        case tokenReview
    }

    /// The request's kind.
    public let kind: Kind
    /// The last part of the path: `pods`.
    public let resource: String
    /// The parameters, decoded.
    public let parameters: [String: String]
    /// The token; nil without one.
    public let token: String?
    /// The `Accept` header.
    public let accept: String?
    /// The `User-Agent` header.
    public let userAgent: String?

    init(uri: String, isPost: Bool, token: String?, accept: String?, userAgent: String?) {
        let parts = uri.split(separator: "?", maxSplits: 1)
        resource = String(parts.first?.split(separator: "/").last ?? "")
        var parameters: [String: String] = [:]
        for pair in parts.count > 1 ? parts[1].split(separator: "&") : [] {
            let sides = pair.split(separator: "=", maxSplits: 1).map { String($0).removingPercentEncoding ?? "" }
            parameters[sides[0]] = sides.count > 1 ? sides[1] : ""
        }
        self.parameters = parameters
        self.token = token
        self.accept = accept
        self.userAgent = userAgent
        kind = isPost ? .tokenReview : Self.kind(of: parameters)
    }

    private static func kind(of parameters: [String: String]) -> Kind {
        switch (parameters["watch"], parameters["sendInitialEvents"], parameters["continue"]) {
        case (nil, _, nil): parameters["limit"] == "1" ? .version : .list
        case (nil, _, _): .page
        case (_, "true", _): .streamingList
        default: .watch
        }
    }
}
