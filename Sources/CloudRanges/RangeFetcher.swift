// SPDX-License-Identifier: Apache-2.0

internal import HTTPClient

/// Fetches lists over HTTP.
struct RangeFetcher: ~Copyable {
    /// The outcome of a fetch.
    enum Outcome {
        /// The list is still the known one.
        case notModified
        /// A new document, which `take` has accepted.
        case taken([UInt8], RangeCache.Validators)
    }

    /// Accepts a document; throws if it is not the list.
    typealias Take = ([UInt8], RangeCache.Validators) throws(RangeListError) -> Void

    private let client: HTTPClient
    private let timeoutMilliseconds: Int
    private let maximumBytes: Int
    private let userAgent: String
    private let cancellation: HTTPCancellation

    init(_ configuration: CloudRangeCatalog.Configuration, cancellation: HTTPCancellation) {
        client = HTTPClient(tls: configuration.tls, proxy: .environment)
        timeoutMilliseconds = configuration.timeoutMilliseconds
        maximumBytes = configuration.maximumBytes
        userAgent = configuration.userAgent
        self.cancellation = cancellation
    }

    /// Fetches the document at `url`, or at the newest day's URL if it is a dated one.
    ///
    /// - Parameters:
    ///   - url: The list's URL.
    ///   - known: The version in use, if any. It applies only to the URL that it came from.
    ///   - today: Today, in days since 1970-01-01 (UTC).
    ///   - take: Receives the document.
    func fetch(
        _ url: String, known: RangeCache.Validators?, today: Int, take: Take
    ) throws(RangeSourceError) -> Outcome {
        guard let dated = DatedURL(url) else { return try get(url, known: known, take) }
        var newest: RangeSourceError?
        for url in dated.candidates(today: today) {
            do throws(RangeSourceError) {
                return try get(url, known: known, take)
            } catch {
                // Days before that of the list in use can only have older lists.
                guard error.isOfDayWithoutList, url != known?.url else { throw error }
                if newest == nil { newest = error }
            }
        }
        throw .noDatedList(days: DatedURL.maximumAgeDays, newest: newest.map { "\($0)" } ?? "")
    }

    private func get(
        _ url: String, known: RangeCache.Validators?, _ take: Take
    ) throws(RangeSourceError) -> Outcome {
        let known = known?.url == url ? known : nil
        var headers = [(name: "User-Agent", value: userAgent), (name: "Accept", value: "application/json")]
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
            do throws(RangeListError) { try take(response.body, validators) } catch { throw .list(error) }
            return .taken(response.body, validators)
        case 304 where known != nil: return .notModified
        default: throw .status(response.status, retryAfter: response.head.retryAfter)
        }
    }
}

extension RangeSourceError {
    /// Whether the error can mean that no list was published for the day. A mirror may reject a request for a missing
    /// file (S3 answers 403 without permission to list), show a page of its own, or redirect to one.
    fileprivate var isOfDayWithoutList: Bool {
        switch self {
        case .status(let status, _): 300..<500 ~= status && ![401, 407, 408, 425, 429].contains(status)
        case .http(let error): error.kind == .redirect
        case .list: true
        case .noDatedList, .file: false
        }
    }
}
