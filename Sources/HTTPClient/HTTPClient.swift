// SPDX-License-Identifier: Apache-2.0

import CCurl
import Glibc

/// A libcurl handle: one exchange at a time over HTTP/1.1, on a connection that is kept between exchanges. It blocks
/// its thread.
public struct HTTPClient: ~Copyable {
    /// The proxy between this client and its servers.
    public enum Proxy: Equatable, Sendable {
        /// Servers are connected to directly, whatever the environment says: for servers in the cluster.
        case none
        /// `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` are applied as libcurl does
        /// (https://everything.curl.dev/usingcurl/proxies/env.html): for servers on the Internet.
        case environment
        /// The proxy at this URL, for every server.
        case url(String)
    }

    /// The reason why a stream ended.
    public enum StreamEnd: Equatable, Sendable {
        /// The server has sent the whole response.
        case complete
        /// The consumer stopped the stream. The connection is closed.
        case stopped
    }

    /// The default limit on a buffered response's body, in bytes.
    public static let maximumResponseBytes = 16 << 20

    private let easy: UnsafeMutableRawPointer
    private let multi: UnsafeMutableRawPointer
    private let tls: TLS
    private let proxy: Proxy
    private let destination: String?

    /// Makes a handle. Exits with a fatal error if libcurl cannot make one, which happens only when memory is
    /// exhausted.
    ///
    /// - Parameters:
    ///   - tls: The policy by which server and client authenticate each other.
    ///   - proxy: The proxy; none by default.
    ///   - destination: The `host:port` to connect to instead of the URL's; the server's certificate must still be for
    ///     the URL's host. Nil for the URL's host and port.
    public init(tls: TLS = TLS(), proxy: Proxy = .none, destination: String? = nil) {
        _ = Self.initializeLibrary
        guard let easy = curl_easy_init(), let multi = curl_multi_init() else {
            fatalError("libcurl cannot allocate a handle: out of memory")
        }
        self.easy = easy
        self.multi = multi
        self.tls = tls
        self.proxy = proxy
        self.destination = destination
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_multi_cleanup(multi)
    }

    /// `curl_global_init` is not thread-safe in every build of libcurl; a static is initialised once.
    private static let initializeLibrary: Void = {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        // In older libcurls, OpenSSL writes to sockets without MSG_NOSIGNAL: a connection closed by the server would
        // end the process.
        signal(SIGPIPE, SIG_IGN)
    }()

    /// Sends a request and waits for the whole response, whatever its status.
    public func perform(
        _ request: HTTPRequest, cancellation: HTTPCancellation? = nil
    ) throws(HTTPError) -> HTTPResponse {
        var head = HTTPHead(status: 0)
        var body: [UInt8] = []
        var isTooLarge = false
        let end = try stream(request, cancellation: cancellation) {
            head = $0
            return true
        } onBody: { chunk in
            isTooLarge = body.count + chunk.count > request.maximumResponseBytes
            if !isTooLarge { body.append(contentsOf: chunk) }
            return !isTooLarge
        }
        guard end == .complete else {
            throw HTTPError(
                kind: .responseTooLarge, message: "the response is larger than \(request.maximumResponseBytes) bytes")
        }
        return HTTPResponse(head: head, body: body)
    }

    /// Sends a request and passes on the response as it arrives.
    ///
    /// - Parameters:
    ///   - request: The request; its `maximumResponseBytes` is ignored.
    ///   - cancellation: Ends the exchange from another thread, with an error of the kind `.cancelled`.
    ///   - silenceEnds: Returns the time at which the exchange fails with an error of the kind `.timeout`, nil for
    ///     never. Called repeatedly while more of the response is awaited after its head.
    ///   - onHead: Called once, before the first chunk of the body. If it returns false, the exchange ends.
    ///   - onBody: Called with every chunk of the body as it arrives. If it returns false, the exchange ends.
    public func stream(
        _ request: HTTPRequest, cancellation: HTTPCancellation? = nil,
        silenceEnds: () -> ContinuousClock.Instant? = { nil }, onHead: (HTTPHead) -> Bool,
        onBody: (UnsafeRawBufferPointer) -> Bool
    ) throws(HTTPError) -> StreamEnd {
        let result = withoutActuallyEscaping(onHead) { onHead in
            withoutActuallyEscaping(onBody) { onBody in
                Result { () throws(HTTPError) in
                    let answer = Answer(followsRedirects: request.maximumRedirects > 0, onHead: onHead, onBody: onBody)
                    return try withExtendedLifetime(answer) { () throws(HTTPError) in
                        try exchange(request, cancellation, answer, silenceEnds)
                    }
                }
            }
        }
        return try result.get()
    }

    private func exchange(
        _ request: HTTPRequest, _ cancellation: HTTPCancellation?, _ answer: Answer,
        _ silenceEnds: () -> ContinuousClock.Instant?
    ) throws(HTTPError) -> StreamEnd {
        // Resets the options only: connections, DNS results and TLS sessions are kept.
        curl_easy_reset(easy)
        let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        defer { errorText.deallocate() }
        let lists = Lists()
        defer { lists.free() }
        try configure(request, answer, lists, errorText)

        cancellation?.add(multi)
        defer { cancellation?.remove(multi) }
        let result = try transfer(request, cancellation, answer, silenceEnds).get()
        if answer.isStopped { return .stopped }
        guard result == CURLE_OK else {
            let detail = String(cString: errorText)
            throw HTTPError(
                kind: HTTPError.Kind(result, detail: detail, wasRedirected: information(CURLINFO_REDIRECT_COUNT) > 0),
                message: detail.isEmpty ? String(cString: curl_easy_strerror(result)) : detail,
                wasSent: isWholeBodySent(of: request), isOfHandshake: result == CURLE_SSL_CONNECT_ERROR)
        }
        return .complete
    }

    /// Runs the exchange until it ends, times out or is cancelled.
    private func transfer(
        _ request: HTTPRequest, _ cancellation: HTTPCancellation?, _ answer: Answer,
        _ silenceEnds: () -> ContinuousClock.Instant?
    ) -> Result<CURLcode, HTTPError> {
        guard case .post(let body) = request.method else { return run(request, cancellation, answer, silenceEnds) }
        return body.withUnsafeBytes { body in
            // An empty body needs a non-null pointer to be sent as a body.
            let empty: StaticString = ""
            kubenetmon_curl_set_long(easy, CURLOPT_POST, 1)
            kubenetmon_curl_set_pointer(
                easy, CURLOPT_POSTFIELDS, body.baseAddress ?? UnsafeRawPointer(empty.utf8Start))
            kubenetmon_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
            return run(request, cancellation, answer, silenceEnds)
        }
    }

    private func run(
        _ request: HTTPRequest, _ cancellation: HTTPCancellation?, _ answer: Answer,
        _ silenceEnds: () -> ContinuousClock.Instant?
    ) -> Result<CURLcode, HTTPError> {
        let headDeadline = request.headTimeoutMilliseconds.map { ContinuousClock.now + .milliseconds($0) }
        curl_multi_add_handle(multi, easy)
        defer { curl_multi_remove_handle(multi, easy) }
        var running: Int32 = 0
        while cancellation?.isCancelled != true {
            guard curl_multi_perform(multi, &running) == CURLM_OK else { return .success(CURLE_OUT_OF_MEMORY) }
            guard running > 0 else { return .success(kubenetmon_curl_multi_result(multi)) }
            // libcurl's own timers and a cancellation end the wait earlier.
            var milliseconds: Int32 = 60_000
            if let deadline = answer.hasBegun ? silenceEnds() : headDeadline {
                let rest = (deadline - .now) / .milliseconds(1)
                guard rest > 0 else {
                    let message = answer.hasBegun ? "the server stopped responding" : "the server does not respond"
                    return .failure(HTTPError(kind: .timeout, message: message))
                }
                milliseconds = Int32(min(60_000, rest.rounded(.up)))
            }
            curl_multi_poll(multi, nil, 0, milliseconds, nil)
        }
        return .failure(HTTPError(kind: .cancelled, message: "the request was cancelled"))
    }

    /// Returns true once the request's head and all of its body were written to the connection.
    private func isWholeBodySent(of request: HTTPRequest) -> Bool {
        var uploaded: curl_off_t = 0
        kubenetmon_curl_get_offset(easy, CURLINFO_SIZE_UPLOAD_T, &uploaded)
        let length = if case .post(let body) = request.method { body.count } else { 0 }
        return information(CURLINFO_REQUEST_SIZE) > 0 && uploaded >= length
    }

    private func information(_ information: CURLINFO) -> Int {
        var value = 0
        kubenetmon_curl_get_long(easy, information, &value)
        return value
    }
}

extension HTTPClient {
    private func configure(
        _ request: HTTPRequest, _ answer: Answer, _ lists: Lists, _ errorText: UnsafeMutablePointer<CChar>
    ) throws(HTTPError) {
        kubenetmon_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
        request.url.withCString { url in
            // libcurl copies every string option.
            _ = kubenetmon_curl_set_pointer(easy, CURLOPT_URL, url)
        }
        kubenetmon_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        kubenetmon_curl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        kubenetmon_curl_set_long(easy, CURLOPT_PROTOCOLS, Int(CURLPROTO_HTTP | CURLPROTO_HTTPS))
        kubenetmon_curl_set_long(easy, CURLOPT_REDIR_PROTOCOLS, Int(CURLPROTO_HTTPS))
        kubenetmon_curl_set_long(easy, CURLOPT_FOLLOWLOCATION, request.maximumRedirects > 0 ? 1 : 0)
        kubenetmon_curl_set_long(easy, CURLOPT_MAXREDIRS, request.maximumRedirects)
        kubenetmon_curl_set_recent_options(easy)
        configureConnection(request, lists)
        try configureTLS()

        // Without this, libcurl would wait a second for "100 Continue" before each larger body.
        for field in request.headers.map({ "\($0.name): \($0.value)" }) + ["Expect:"] {
            lists.headers = curl_slist_append(lists.headers, field)
        }
        kubenetmon_curl_set_pointer(easy, CURLOPT_HTTPHEADER, lists.headers)
        let context = Unmanaged.passUnretained(answer).toOpaque()
        kubenetmon_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
        kubenetmon_curl_set_data_function(easy, CURLOPT_WRITEFUNCTION) { data, size, count, context in
            Answer.take(data, size * count, context) { $0.body($1) }
        }
        kubenetmon_curl_set_long(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        kubenetmon_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        kubenetmon_curl_set_data_function(easy, CURLOPT_HEADERFUNCTION) { data, size, count, context in
            Answer.take(data, size * count, context) { $0.headerLine($1) }
        }
    }

    private func configureConnection(_ request: HTTPRequest, _ lists: Lists) {
        kubenetmon_curl_set_long(easy, CURLOPT_TIMEOUT_MS, request.timeoutMilliseconds ?? 0)
        kubenetmon_curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeoutMilliseconds)
        // A server that vanished without closing the connection is detected after 30 seconds and nine probes
        // (tcp_keepalive_probes) at intervals of 10 seconds.
        kubenetmon_curl_set_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
        kubenetmon_curl_set_long(easy, CURLOPT_TCP_KEEPIDLE, 30)
        kubenetmon_curl_set_long(easy, CURLOPT_TCP_KEEPINTVL, 10)
        switch proxy {
        case .none: "".withCString { _ = kubenetmon_curl_set_pointer(easy, CURLOPT_PROXY, $0) }
        case .environment: break
        case .url(let url):
            url.withCString { _ = kubenetmon_curl_set_pointer(easy, CURLOPT_PROXY, $0) }
            "".withCString { _ = kubenetmon_curl_set_pointer(easy, CURLOPT_NOPROXY, $0) }
        }
        if let destination {
            lists.destinations = curl_slist_append(lists.destinations, "::\(destination)")
            kubenetmon_curl_set_pointer(easy, CURLOPT_CONNECT_TO, lists.destinations)
        }
    }

    private func configureTLS() throws(HTTPError) {
        // For TLS 1.2: forward secrecy and authenticated encryption. The suites of TLS 1.3 have both.
        "ECDHE+AESGCM:ECDHE+CHACHA20".withCString { suites in
            for option in [CURLOPT_SSL_CIPHER_LIST, CURLOPT_PROXY_SSL_CIPHER_LIST] {
                kubenetmon_curl_set_pointer(easy, option, suites)
            }
        }
        for option in [CURLOPT_SSLVERSION, CURLOPT_PROXY_SSLVERSION] {
            kubenetmon_curl_set_long(easy, option, Int(CURL_SSLVERSION_TLSv1_2))
        }
        kubenetmon_curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, tls.verifiesServer ? 1 : 0)
        kubenetmon_curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, tls.verifiesServer ? 2 : 0)
        if let authorities = tls.authorities {
            // The system's authorities, libcurl's default from its build, must not be trusted as well.
            kubenetmon_curl_set_pointer(easy, CURLOPT_CAPATH, nil)
            kubenetmon_curl_set_pointer(easy, CURLOPT_CAINFO, nil)
            try set(authorities, file: CURLOPT_CAINFO, bytes: CURLOPT_CAINFO_BLOB)
        }
        if let certificate = tls.certificate {
            try set(certificate, file: CURLOPT_SSLCERT, bytes: CURLOPT_SSLCERT_BLOB)
        }
        if let key = tls.key {
            try set(key, file: CURLOPT_SSLKEY, bytes: CURLOPT_SSLKEY_BLOB)
            // Without a password, OpenSSL would ask the terminal for that of an encrypted key.
            "".withCString { _ = kubenetmon_curl_set_pointer(easy, CURLOPT_KEYPASSWD, $0) }
        }
    }

    private func setFile(_ path: String, _ option: CURLoption) throws(HTTPError) -> CURLcode {
        var status = stat()
        // libcurl would block until a pipe's writer ends. It reports other files that it cannot read.
        guard stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG else {
            throw HTTPError(kind: .badRequest, message: "cannot use the certificates: \(path) is not a regular file")
        }
        return path.withCString { kubenetmon_curl_set_pointer(easy, option, $0) }
    }

    private func set(_ pem: TLS.PEM, file: CURLoption, bytes: CURLoption) throws(HTTPError) {
        let result =
            switch pem {
            case .file(let path): try setFile(path, file)
            case .bytes(let text):
                text.withUnsafeBytes { kubenetmon_curl_set_blob(easy, bytes, $0.baseAddress, $0.count) }
            }
        guard result == CURLE_OK else {
            // A libcurl whose TLS library is not OpenSSL may support only files.
            throw HTTPError(
                kind: .badRequest,
                message: "cannot use the certificates: \(String(cString: curl_easy_strerror(result)))")
        }
    }
}

extension HTTPError.Kind {
    fileprivate init(_ code: CURLcode, detail: String, wasRedirected: Bool) {
        self =
            switch code {
            case CURLE_OPERATION_TIMEDOUT: .timeout
            case CURLE_TOO_MANY_REDIRECTS: .redirect
            case CURLE_UNSUPPORTED_PROTOCOL where wasRedirected: .redirect
            case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM:
                .badRequest
            // An OpenSSL error reads "error:0A00010B:SSL routines::wrong version number". Without one, the connection
            // was reset or closed during the handshake, as by a load balancer without backends; OpenSSL 3 reports an
            // error for the close too.
            case CURLE_SSL_CONNECT_ERROR where !detail.contains(" routines:") || detail.contains("unexpected eof"):
                .connection
            case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR,
                CURLE_SSL_CLIENTCERT:
                .tls
            // In TLS 1.3, a server rejects the client's certificate after the handshake.
            case CURLE_RECV_ERROR where detail.contains("alert"), CURLE_SEND_ERROR where detail.contains("alert"): .tls
            default: .connection
            }
    }
}

/// libcurl's linked lists for one exchange; libcurl reads them until the exchange ends.
private final class Lists {
    var headers: UnsafeMutablePointer<curl_slist>?
    var destinations: UnsafeMutablePointer<curl_slist>?

    func free() {
        curl_slist_free_all(headers)
        curl_slist_free_all(destinations)
    }
}
