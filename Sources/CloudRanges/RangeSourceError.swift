// SPDX-License-Identifier: Apache-2.0

internal import HTTPClient

/// The reason that a list could not be loaded.
enum RangeSourceError: Error, Equatable, Sendable {
    /// The HTTP exchange failed.
    case http(HTTPError)
    /// The server answered with a status other than success.
    case status(Int, retryAfter: Duration?)
    /// No day tried for a dated URL has a list; `newest` describes the error for the newest day.
    case noDatedList(days: Int, newest: String)
    /// The file cannot be read.
    case file(path: String, reason: String)
    /// The document is not the list.
    case list(RangeListError)
}

extension RangeSourceError: CustomStringConvertible {
    /// The error for a log.
    var description: String {
        switch self {
        case .http(let error): "\(error)"
        case .status(let status, _): "the server answered with status \(status)"
        case .noDatedList(let days, let newest):
            "no list is published at the URLs of the last \(days) days; today's URL: \(newest)"
        case .file(let path, let reason): "\(path): \(reason)"
        case .list(let error): "\(error)"
        }
    }
}
