// SPDX-License-Identifier: Apache-2.0

import HTTPClient

/// The reason that a request to the API server got no response.
enum KubernetesClientError: Error {
    /// The token or a certificate cannot be read.
    case credentials(String)
    /// The exchange failed.
    case http(HTTPError)
}

/// The access of reflectors to the API server. It blocks its thread.
protocol KubernetesTransport: ~Copyable {
    /// The problems of credentials that could not be read again; their previous state stays in use.
    var staleCredentials: [String] { get }

    /// Reads the credentials if that is due, before a request; throws if there are none yet.
    mutating func refreshCredentials() throws(KubernetesClientError)

    /// Makes the next refresh read the credentials again, because the server has rejected them.
    mutating func expireCredentials()

    /// Requests a path with parameters and the present credentials, in the manner of
    /// ``HTTPClient/stream(_:cancellation:silenceEnds:onHead:onBody:)``.
    mutating func get(
        _ path: String, parameters: [(name: String, value: String)], accept: String,
        timeouts: KubernetesClient.Timeouts, cancellation: HTTPCancellation,
        silenceEnds: () -> ContinuousClock.Instant?, onHead: (HTTPHead) -> Bool,
        onBody: (UnsafeRawBufferPointer) -> Bool
    ) throws(KubernetesClientError) -> HTTPClient.StreamEnd
}

/// Requests resources of the API server over one connection, with credentials that are read again as they change. It
/// blocks its thread.
struct KubernetesClient: KubernetesTransport, ~Copyable {
    /// The time limits of an exchange and of its parts.
    struct Timeouts {
        var connectMilliseconds = 10_000
        /// A server takes a while before it sends the first byte of a large cluster's list.
        var headMilliseconds = 60_000
        var totalMilliseconds: Int
    }

    private let cluster: ClusterConfiguration
    private var token: Credential?
    private var authorities: Credential?
    private var certificate: Credential?
    private var key: Credential?
    private var tls: HTTPClient.TLS
    private var http: HTTPClient

    init(_ cluster: ClusterConfiguration) {
        self.cluster = cluster
        token = cluster.token.map(Credential.init)
        authorities = cluster.authorities.map(Credential.init)
        certificate = cluster.certificate.map(Credential.init)
        key = cluster.key.map(Credential.init)
        tls = HTTPClient.TLS(verifiesServer: cluster.verifiesServer)
        http = HTTPClient(tls: tls, destination: Self.destination(of: cluster))
    }

    var staleCredentials: [String] { [token, authorities, certificate, key].compactMap { $0?.problem } }

    mutating func expireCredentials() {
        token?.expire()
        certificate?.expire()
        key?.expire()
        authorities?.expire()
    }

    mutating func get(
        _ path: String, parameters: [(name: String, value: String)], accept: String, timeouts: Timeouts,
        cancellation: HTTPCancellation, silenceEnds: () -> ContinuousClock.Instant?, onHead: (HTTPHead) -> Bool,
        onBody: (UnsafeRawBufferPointer) -> Bool
    ) throws(KubernetesClientError) -> HTTPClient.StreamEnd {
        let request = HTTPRequest(
            .get, url: "\(serverURL)\(path)?\(HTTPRequest.query(parameters))", headers: try headers(accept: accept),
            timeoutMilliseconds: timeouts.totalMilliseconds, connectTimeoutMilliseconds: timeouts.connectMilliseconds,
            headTimeoutMilliseconds: timeouts.headMilliseconds)
        do {
            return try http.stream(
                request, cancellation: cancellation, silenceEnds: silenceEnds, onHead: onHead, onBody: onBody)
        } catch {
            throw noted(error)
        }
    }

    /// Sends JSON to a path with the present credentials, and returns the response, whatever its status.
    mutating func post(
        _ path: String, json: [UInt8], timeouts: Timeouts
    ) throws(KubernetesClientError) -> HTTPResponse {
        let request = HTTPRequest(
            .post(json), url: "\(serverURL)\(path)",
            headers: try headers(accept: "application/json") + [("Content-Type", "application/json")],
            timeoutMilliseconds: timeouts.totalMilliseconds, connectTimeoutMilliseconds: timeouts.connectMilliseconds,
            headTimeoutMilliseconds: timeouts.headMilliseconds, maximumResponseBytes: 1 << 20)
        do {
            return try http.perform(request)
        } catch {
            throw noted(error)
        }
    }

    private func headers(accept: String) throws(KubernetesClientError) -> [(name: String, value: String)] {
        var headers = [(name: "Accept", value: accept), (name: "User-Agent", value: cluster.userAgent)]
        if let token = token?.bytes { headers.append(("Authorization", "Bearer \(try Self.checked(token))")) }
        return headers
    }

    /// Expires the credentials after a TLS error: their files may already contain a new authority or certificate.
    private mutating func noted(_ error: HTTPError) -> KubernetesClientError {
        if error.kind == .tls { expireCredentials() }
        return .http(error)
    }

    mutating func refreshCredentials() throws(KubernetesClientError) {
        let now = ContinuousClock.now
        token?.refresh(now: now)
        authorities?.refresh(now: now)
        certificate?.refresh(now: now)
        key?.refresh(now: now)
        for case let credential? in [token, authorities, certificate, key] where credential.bytes == nil {
            throw .credentials(credential.problem ?? "\(credential.source) has not been read")
        }
        let tls = HTTPClient.TLS(
            verifiesServer: cluster.verifiesServer, authorities: authorities?.bytes.map { .bytes($0) },
            certificate: certificate?.bytes.map { .bytes($0) }, key: key?.bytes.map { .bytes($0) })
        guard tls != self.tls else { return }
        self.tls = tls
        http = HTTPClient(tls: tls, destination: Self.destination(of: cluster))
    }

    /// Returns the token as text. A token is one line of visible characters; others would become part of the request
    /// around it.
    private static func checked(_ token: [UInt8]) throws(KubernetesClientError) -> String {
        let text = String(decoding: token, as: UTF8.self).trimmingWhitespace()
        guard text.utf8.allSatisfy({ 0x21...0x7e ~= $0 }) else {
            throw .credentials("the token contains characters other than visible ASCII")
        }
        return text
    }

    /// The server's URL, with the certificate's name in place of the host and port.
    private var serverURL: String {
        guard let name = cluster.serverName else { return cluster.server }
        return cluster.server.replacing(Self.address(of: cluster.server), with: name, maxReplacements: 1)
    }

    /// Returns the host and port to connect to if the server's URL does not have the certificate's name; nil if it
    /// does.
    private static func destination(of cluster: ClusterConfiguration) -> String? {
        cluster.serverName == nil ? nil : address(of: cluster.server)
    }

    /// Returns the host and port of a URL.
    private static func address(of url: String) -> String {
        let rest = url[(url.firstRange(of: "://")?.upperBound ?? url.startIndex)...]
        return String(rest.prefix { $0 != "/" })
    }
}
