// SPDX-License-Identifier: Apache-2.0

import CCurl

/// A libcurl handle: one exchange at a time, the connection kept between them. It blocks its thread.
public struct HTTPClient: ~Copyable {
    /// How servers are told to be who they say they are.
    public struct TLS: Equatable, Sendable {
        /// Whether the server's certificate is checked against its name and the known authorities.
        public var verifiesServer: Bool

        /// Makes a policy; certificates are checked unless told otherwise.
        public init(verifiesServer: Bool = true) { self.verifiesServer = verifiesServer }
    }

    /// The longest answer that is taken, in bytes.
    public static let maximumResponseBytes = 16 << 20

    private let handle: UnsafeMutableRawPointer
    private let tls: TLS

    /// Makes a handle. libcurl fails to make one only where memory is exhausted.
    public init(tls: TLS = TLS()) {
        _ = Self.initializeLibrary
        guard let handle = curl_easy_init() else { fatalError("libcurl cannot allocate a handle: out of memory") }
        self.handle = handle
        self.tls = tls
    }

    deinit { curl_easy_cleanup(handle) }

    /// `curl_global_init` is not thread-safe in every build; a static is initialised once.
    private static let initializeLibrary: Void = {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
    }()

    /// Sends a request and waits for the answer, whatever its status.
    public func perform(_ request: HTTPRequest) throws(HTTPError) -> HTTPResponse {
        // Keeps connections, DNS answers and TLS sessions.
        curl_easy_reset(handle)
        let answer = Answer()
        let context = Unmanaged.passUnretained(answer).toOpaque()
        var errorText = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
        var fields: UnsafeMutablePointer<curl_slist>?
        defer { curl_slist_free_all(fields) }
        // libcurl would wait a second for "100 Continue" before each larger body.
        for field in request.headers.map({ "\($0.name): \($0.value)" }) + ["Expect:"] {
            fields = curl_slist_append(fields, field)
        }
        kubenetmon_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        kubenetmon_curl_set_long(handle, CURLOPT_PROTOCOLS, Int(CURLPROTO_HTTP | CURLPROTO_HTTPS))
        kubenetmon_curl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
        kubenetmon_curl_set_long(handle, CURLOPT_TIMEOUT_MS, request.timeoutMilliseconds)
        kubenetmon_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeoutMilliseconds)
        kubenetmon_curl_set_long(handle, CURLOPT_SSL_VERIFYPEER, tls.verifiesServer ? 1 : 0)
        kubenetmon_curl_set_long(handle, CURLOPT_SSL_VERIFYHOST, tls.verifiesServer ? 2 : 0)
        kubenetmon_curl_set_pointer(handle, CURLOPT_HTTPHEADER, fields)
        kubenetmon_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        kubenetmon_curl_set_data_function(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
            Answer.append(data, size * count, context) { $0.appendBody($1) }
        }
        kubenetmon_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        kubenetmon_curl_set_data_function(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
            Answer.append(data, size * count, context) { $0.appendHeaderLine($1) }
        }
        let result = errorText.withUnsafeMutableBufferPointer { text in
            kubenetmon_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, text.baseAddress)
            return request.url.withCString { url in
                kubenetmon_curl_set_pointer(handle, CURLOPT_URL, url)
                guard case .post(let body) = request.method else { return curl_easy_perform(handle) }
                return body.withUnsafeBytes { body in
                    kubenetmon_curl_set_long(handle, CURLOPT_POST, 1)
                    kubenetmon_curl_set_pointer(handle, CURLOPT_POSTFIELDS, body.baseAddress ?? UnsafeRawPointer(url))
                    kubenetmon_curl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
                    return curl_easy_perform(handle)
                }
            }
        }
        guard result == CURLE_OK else {
            let detail = String(decoding: errorText.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            throw HTTPError(
                kind: HTTPError.Kind(result, answer),
                message: detail.isEmpty ? String(cString: curl_easy_strerror(result)) : detail)
        }
        var status = 0
        kubenetmon_curl_get_long(handle, CURLINFO_RESPONSE_CODE, &status)
        return HTTPResponse(status: status, headers: answer.headers, body: answer.body)
    }
}

extension HTTPError.Kind {
    fileprivate init(_ code: CURLcode, _ answer: Answer) {
        self =
            switch code {
            case CURLE_OPERATION_TIMEDOUT: .timeout
            case CURLE_WRITE_ERROR where answer.isTooLarge: .responseTooLarge
            case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM:
                .badRequest
            case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR:
                .tls
            default: .connection
            }
    }
}

/// What libcurl's callbacks have gathered of an answer.
private final class Answer {
    private(set) var headers: [String: String] = [:]
    private(set) var body: [UInt8] = []
    private(set) var isTooLarge = false

    /// Hands what libcurl read to `body`; returns how much was taken, which must be all for the transfer to go on.
    static func append(
        _ data: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
        _ body: (Answer, UnsafeRawBufferPointer) -> Bool
    ) -> Int {
        guard let context else { return 0 }
        let answer = Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
        return body(answer, UnsafeRawBufferPointer(start: data, count: count)) ? count : 0
    }

    func appendBody(_ data: UnsafeRawBufferPointer) -> Bool {
        guard body.count + data.count <= HTTPClient.maximumResponseBytes else {
            isTooLarge = true
            return false
        }
        body.append(contentsOf: data)
        return true
    }

    func appendHeaderLine(_ data: UnsafeRawBufferPointer) -> Bool {
        let line = String(decoding: data, as: UTF8.self)
        // The status line begins another header section, as after a redirect.
        if line.hasPrefix("HTTP/") { headers = [:] }
        if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            headers[line[..<colon].lowercased()] = String(value.prefix { $0 != "\r\n" && $0 != "\r" && $0 != "\n" })
        }
        return true
    }
}
