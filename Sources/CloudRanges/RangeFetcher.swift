// SPDX-License-Identifier: Apache-2.0

internal import HTTPClient

/// Gets lists over HTTP.
struct RangeFetcher: ~Copyable {
    /// What came of it.
    enum Outcome {
        /// The list is still the one that is known.
        case notModified
        /// A document.
        case document([UInt8], RangeCache.Validators)
    }

    private let client: HTTPClient
    private let timeoutMilliseconds: Int
    private let maximumBytes: Int
    private let cancellation: HTTPCancellation

    init(_ configuration: CloudRangeCatalog.Configuration, cancellation: HTTPCancellation) {
        client = HTTPClient(tls: configuration.tls, proxy: .environment)
        timeoutMilliseconds = configuration.timeoutMilliseconds
        maximumBytes = configuration.maximumBytes
        self.cancellation = cancellation
    }

    /// Gets what is at `url`, or at the newest day's URL where it is a dated one.
    ///
    /// - Parameters:
    ///   - url: Where the list is.
    ///   - known: The version that is known, if any. It counts for the URL that it came from alone.
    ///   - today: The day in days since 1970-01-01 (UTC).
    func fetch(
        _ url: String, known: RangeCache.Validators?, today: Int
    ) throws(RangeSourceError) -> Outcome {
        guard let dated = DatedURL(url) else { return try get(url, known: known) }
        for url in dated.candidates(today: today) {
            do throws(RangeSourceError) {
                return try get(url, known: known)
            } catch .status(404, _), .status(410, _) {
                continue
            }
        }
        throw .noDatedList(days: DatedURL.maximumAgeDays)
    }

    private func get(_ url: String, known: RangeCache.Validators?) throws(RangeSourceError) -> Outcome {
        let known = known?.url == url ? known : nil
        var headers = [(name: "User-Agent", value: "kubenetmon-server"), (name: "Accept", value: "application/json")]
        if let entityTag = known?.entityTag { headers.append(("If-None-Match", entityTag)) }
        if let lastModified = known?.lastModified { headers.append(("If-Modified-Since", lastModified)) }
        let response: HTTPResponse
        do throws(HTTPError) {
            response = try client.perform(
                HTTPRequest(
                    .get, url: url, headers: headers, timeoutMilliseconds: timeoutMilliseconds,
                    connectTimeoutMilliseconds: timeoutMilliseconds, maximumResponseBytes: maximumBytes,
                    maximumRedirects: 5),
                cancellation: cancellation)
        } catch {
            throw .http(error)
        }
        switch response.status {
        case 200:
            let validators = RangeCache.Validators(
                url: url, entityTag: response.headers["etag"], lastModified: response.headers["last-modified"])
            return .document(response.body, validators)
        case 304 where known != nil: return .notModified
        default: throw .status(response.status, retryAfter: response.head.retryAfter)
        }
    }
}
