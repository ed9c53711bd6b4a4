// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import FlowModel
import FoundationEssentials
import Glibc
import LocalFiles
import YAMLParsing

extension ClusterConfiguration {
    /// Reads the cluster and the user of a kubeconfig's current context
    /// (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/). Unrelated keys are
    /// ignored.
    ///
    /// - Parameter paths: Paths separated by colons; the first that exists is read. Unlike kubectl, the files are not
    ///   merged.
    package static func kubeconfig(paths: String) throws(ClusterConfigurationError) -> ClusterConfiguration {
        let candidates = paths.split(separator: ":").map(String.init)
        // A file that may not be looked at is read, whose error says what must be allowed.
        guard let path = candidates.first(where: { access($0, F_OK) == 0 || errno != ENOENT && errno != ENOTDIR })
        else {
            throw ClusterConfigurationError(
                key: "KUBECONFIG",
                problem: "there is no file at \(candidates.isEmpty ? "''" : candidates.joined(separator: " or "))",
                remedy: "set it to the path of a kubeconfig, or unset it in a pod")
        }
        let file = try KubeconfigFile(path: path)
        let context = try file.text("current-context", remedy: "choose one with `kubectl config use-context`")
        let names = try file.entry("context", named: context, of: "current-context")
        let cluster = try file.entry(
            "cluster", named: try names.text("cluster", remedy: "name a cluster"), of: names.path("cluster"))

        var configuration = ClusterConfiguration(
            origin: "kubeconfig \(path), context \(context)", server: try cluster.server(),
            namespace: names.optionalText("namespace"))
        configuration.serverName = cluster.optionalText("tls-server-name")
        configuration.authorities = try cluster.source("certificate-authority")
        if try cluster.flag("insecure-skip-tls-verify") {
            configuration.verifiesServer = false
            configuration.authorities = nil
            configuration.warnings.append(
                "\(path): \(cluster.path("insecure-skip-tls-verify")): the API server's certificate is not verified, "
                    + "so the token can be intercepted")
        }
        try cluster.refuse(
            ["proxy-url"],
            remedy: "make the API server reachable without a proxy; connections to Kubernetes use none")

        guard let name = names.optionalText("user") else { return configuration }
        let user = try file.entry("user", named: name, of: names.path("user"))
        try user.refuse(
            ["exec", "auth-provider", "username", "password"],
            remedy: "use a service account's token (`kubectl create token`), a token file or a client certificate")
        try user.refuse(
            ["as", "as-groups", "as-uid", "as-user-extra"], remedy: "use a user that has these rights itself")
        configuration.certificate = try user.source("client-certificate")
        configuration.key = try user.source("client-key")
        guard (configuration.certificate == nil) == (configuration.key == nil) else {
            throw user.error(
                configuration.key == nil ? "client-key" : "client-certificate", "is missing",
                remedy: "set both the client certificate and its key")
        }
        // As in client-go, the file takes precedence if both are present.
        if let tokenFile = user.optionalText("tokenFile") {
            configuration.token = .file(user.resolved(tokenFile))
        } else if let token = user.optionalText("token") {
            configuration.token = .bytes(Array(token.utf8))
        }
        let isPlain = configuration.server.hasPrefix("http://")
        if isPlain, configuration.token != nil, !URLAuthority(configuration.server).isLoopback {
            configuration.warnings.append(
                "\(path): \(cluster.path("server")): the token is sent unencrypted to \(configuration.server): write https://"
            )
        }
        return configuration
    }
}

/// A mapping of a kubeconfig and its path in the file.
private struct KubeconfigFile {
    private let file: String
    private let place: String
    private let entries: [DocumentNode.Entry]

    init(path: String) throws(ClusterConfigurationError) {
        let remedy = "write it again with `kubectl config view --flatten --raw`"
        let text: String
        do throws(LocalFile.Failure) {
            text = String(
                decoding: try LocalFile.bytes(
                    of: path, maximumBytes: KubernetesLimits.fileBytes, acceptsStreams: true), as: UTF8.self)
        } catch {
            throw ClusterConfigurationError(
                file: path, problem: "cannot be read: \(error.reason)",
                remedy: "check the path and the file's permissions")
        }
        let document: Document
        do {
            document = try Document(text: text, file: path)
        } catch {
            throw ClusterConfigurationError(file: path, problem: "is not YAML", remedy: remedy)
        }
        if let problem = document.problems.first {
            throw ClusterConfigurationError(file: path, problem: "is not plain YAML: \(problem)", remedy: remedy)
        }
        guard case .mapping(let entries) = document.root.content, !entries.isEmpty else {
            throw ClusterConfigurationError(file: path, problem: "contains no mapping", remedy: remedy)
        }
        self.init(file: path, place: "", entries: entries)
    }

    private init(file: String, place: String, entries: [DocumentNode.Entry]) {
        self.file = file
        self.place = place
        self.entries = entries
    }

    func path(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

    func error(_ key: String, _ problem: String, remedy: String) -> ClusterConfigurationError {
        ClusterConfigurationError(file: file, key: path(key), problem: problem, remedy: remedy)
    }

    /// Returns the text of a key; nil if it is absent or empty.
    func optionalText(_ key: String) -> String? {
        entries.value(of: key)?.text
    }

    func text(_ key: String, remedy: String) throws(ClusterConfigurationError) -> String {
        guard let text = optionalText(key) else { throw error(key, "is missing", remedy: remedy) }
        return text
    }

    func flag(_ key: String) throws(ClusterConfigurationError) -> Bool {
        switch optionalText(key) {
        case nil, "false": false
        case "true": true
        default: throw error(key, "is not true or false", remedy: "write one of them")
        }
    }

    /// Returns the entry of `clusters`, `contexts` or `users` with a name.
    func entry(
        _ kind: String, named name: String, of key: String
    ) throws(ClusterConfigurationError) -> KubeconfigFile {
        let list = entries.value(of: "\(kind)s")?.items ?? []
        guard let entry = list.first(where: { $0.entries.value(of: "name")?.text == name }) else {
            throw ClusterConfigurationError(
                file: file, key: key, problem: "there is no \(name.debugDescription) among the \(kind)s",
                remedy: "choose an existing one (`kubectl config get-contexts`)")
        }
        return KubeconfigFile(
            file: file, place: "\(kind)s[\(name)].\(kind)", entries: entry.entries.value(of: kind)?.entries ?? [])
    }

    func server() throws(ClusterConfigurationError) -> String {
        let server = try text("server", remedy: "write the API server's URL")
        guard server.hasPrefix("https://") || server.hasPrefix("http://") else {
            throw error(
                "server", "\(server.debugDescription) is not an https:// or http:// URL",
                remedy: "write one such as https://127.0.0.1:6443")
        }
        return String(server.reversed().drop { $0 == "/" }.reversed())
    }

    /// Rejects unsupported keys that would change the identity or the transport of requests.
    func refuse(_ keys: [String], remedy: String) throws(ClusterConfigurationError) {
        for key in keys {
            guard let node = entries.value(of: key), !node.isEmpty else { continue }
            throw error(key, "is not supported", remedy: remedy)
        }
    }

    /// Returns the file that a key names, or the bytes of the key with the suffix `-data`, which takes precedence.
    func source(_ key: String) throws(ClusterConfigurationError) -> CredentialSource? {
        if let text = optionalText("\(key)-data") {
            guard let data = Data(base64Encoded: text, options: .ignoreUnknownCharacters), !data.isEmpty else {
                throw error(
                    "\(key)-data", "is not base64",
                    remedy: "write it again with `kubectl config set` and --embed-certs=true")
            }
            return .bytes(Array(data))
        }
        guard let path = optionalText(key).map(resolved) else { return nil }
        guard access(path, R_OK) == 0 else {
            throw error(
                key, "\(path) cannot be read: \(String(cString: strerror(errno)))",
                remedy: "check the path, relative to the kubeconfig's directory, and the file's permissions")
        }
        return .file(path)
    }

    /// Resolves a relative path against the kubeconfig's folder.
    func resolved(_ path: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return "\(file[...slash])\(path)"
    }
}

extension DocumentNode {
    fileprivate var text: String? { if case .text(let text) = content { text } else { nil } }
    fileprivate var items: [DocumentNode] { if case .list(let items) = content { items } else { [] } }
    fileprivate var entries: [Entry] { if case .mapping(let entries) = content { entries } else { [] } }
}

extension [DocumentNode.Entry] {
    fileprivate func value(of key: String) -> DocumentNode? { first { $0.key == key }?.value }
}
