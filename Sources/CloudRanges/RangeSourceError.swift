// SPDX-License-Identifier: Apache-2.0

internal import HTTPClient

/// Why a list could not be had.
enum RangeSourceError: Error, Equatable, Sendable {
    /// The server did not answer.
    case http(HTTPError)
    /// The server answered something else than the list.
    case status(Int, retryAfter: Duration?)
    /// None of the days that a dated URL was tried with has a list; `newest` tells what came for the newest.
    case noDatedList(days: Int, newest: String)
    /// The file cannot be read.
    case file(path: String, reason: String)
    /// What came is not the list.
    case list(RangeListError)
}

extension RangeSourceError: CustomStringConvertible {
    /// The error for a log.
    var description: String {
        switch self {
        case .http(let error): "\(error)"
        case .status(let status, _): "the server answered with status \(status)"
        case .noDatedList(let days, let newest):
            "no list is published under the URL of any of the last \(days) days; of today's: \(newest)"
        case .file(let path, let reason): "\(path): \(reason)"
        case .list(let error): "\(error)"
        }
    }
}
