// SPDX-License-Identifier: Apache-2.0

internal import HTTPClient

/// Gets lists over HTTP.
struct RangeFetcher: ~Copyable {
    /// What came of it.
    enum Outcome {
        /// The list is still the one that is known.
        case notModified
        /// A document that was taken.
        case taken([UInt8], RangeCache.Validators)
    }

    /// Takes a document; throws where it is not the list.
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

    /// Gets what is at `url`, or at the newest day's URL where it is a dated one.
    ///
    /// - Parameters:
    ///   - url: Where the list is.
    ///   - known: The version that is known, if any. It counts for the URL that it came from alone.
    ///   - today: The day in days since 1970-01-01 (UTC).
    ///   - take: Takes what came.
    func fetch(
        _ url: String, known: RangeCache.Validators?, today: Int, take: Take
    ) throws(RangeSourceError) -> Outcome {
        guard let dated = DatedURL(url) else { return try get(url, known: known, take) }
        var newest: RangeSourceError?
        for url in dated.candidates(today: today) {
            do throws(RangeSourceError) {
                return try get(url, known: known, take)
            } catch {
                // Beyond the list in use there are only older ones.
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
    /// Whether this is how a server answers for a day on which no list was published. A mirror may refuse what it does not
    /// have (S3 answers 403 to those who may not list), show a page of its own, or send there.
    fileprivate var isOfDayWithoutList: Bool {
        switch self {
        case .status(let status, _): 300..<500 ~= status && ![401, 407, 408, 425, 429].contains(status)
        case .http(let error): error.kind == .redirect
        case .list: true
        case .noDatedList, .file: false
        }
    }
}
