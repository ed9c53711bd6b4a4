// SPDX-License-Identifier: Apache-2.0

/// How to reach the API server, and as whom to speak to it.
public struct ClusterConfiguration: Equatable, Sendable {
    /// Where this was read, for logs.
    public var origin: String
    /// The API server's URL without a slash at its end, such as `https://10.96.0.1:443`.
    public var server: String
    /// The name that the server's certificate must be of; nil for the one in the URL.
    package var serverName: String?
    /// Whether the server's certificate is checked.
    package var verifiesServer: Bool
    /// The authorities that may have signed the server's certificate; nil for the system's.
    package var authorities: CredentialSource?
    /// The bearer token; nil for none.
    package var token: CredentialSource?
    /// The client's certificate; nil for none.
    package var certificate: CredentialSource?
    /// The key of `certificate`.
    package var key: CredentialSource?
    /// The namespace of the process or of the kubeconfig's context; nil if unknown.
    package var namespace: String?
    /// What was read but is not as it should be, a sentence each, for logs.
    public var warnings: [String]
    /// Who asks, for the API server's audit log: a program and its version.
    public var userAgent = "kubenetmon"

    /// Makes a configuration of its parts.
    package init(
        origin: String, server: String, serverName: String? = nil, verifiesServer: Bool = true,
        authorities: CredentialSource? = nil, token: CredentialSource? = nil, certificate: CredentialSource? = nil,
        key: CredentialSource? = nil, namespace: String? = nil, warnings: [String] = []
    ) {
        self.origin = origin
        self.server = server
        self.serverName = serverName
        self.verifiesServer = verifiesServer
        self.authorities = authorities
        self.token = token
        self.certificate = certificate
        self.key = key
        self.namespace = namespace
        self.warnings = warnings
    }

    /// Where Kubernetes puts what a pod needs to speak to the API server
    /// (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
    public static let serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// Finds the configuration: the kubeconfig that `KUBECONFIG` names, else that of the pod that this process runs in.
    ///
    /// - Parameters:
    ///   - environment: The process's environment.
    ///   - serviceAccountDirectory: Where the pod's token, authority and namespace are.
    public static func discover(
        environment: [String: String], serviceAccountDirectory: String = serviceAccountDirectory
    ) throws(ClusterConfigurationError) -> ClusterConfiguration {
        if let paths = environment["KUBECONFIG"], !paths.isEmpty { return try kubeconfig(paths: paths) }
        return try inCluster(environment: environment, directory: serviceAccountDirectory)
    }

    /// The configuration of the pod that this process runs in: the server from the environment, the rest from files.
    package static func inCluster(
        environment: [String: String], directory: String = serviceAccountDirectory
    ) throws(ClusterConfigurationError) -> ClusterConfiguration {
        func variable(_ name: String) throws(ClusterConfigurationError) -> String {
            guard let value = environment[name], !value.isEmpty else {
                throw ClusterConfigurationError(
                    key: name, problem: "is not set, so this is no pod",
                    remedy: "outside a cluster set KUBECONFIG to the path of a kubeconfig")
            }
            return value
        }
        let host = try variable("KUBERNETES_SERVICE_HOST")
        let port = try variable("KUBERNETES_SERVICE_PORT")
        guard let number = UInt16(port), number > 0 else {
            throw ClusterConfigurationError(
                key: "KUBERNETES_SERVICE_PORT", problem: "\(port.debugDescription) is not a port",
                remedy: "leave the variable to Kubernetes")
        }
        for name in ["token", "ca.crt"] {
            do throws(FileError) {
                _ = try readFile("\(directory)/\(name)")
            } catch {
                throw ClusterConfigurationError(
                    file: "\(directory)/\(name)", problem: "cannot be read: \(error.reason)",
                    remedy: "give the pod a service account (serviceAccountName) and do not set "
                        + "automountServiceAccountToken to false")
            }
        }
        let namespace = try? readFile("\(directory)/namespace")
        return ClusterConfiguration(
            origin: "the pod's service account", server: "https://\(bracketed(host)):\(number)",
            authorities: .file("\(directory)/ca.crt"), token: .file("\(directory)/token"),
            namespace: namespace.map { String(decoding: $0, as: UTF8.self).trimmingWhitespace() })
    }

    /// IPv6 addresses stand in brackets in URLs (RFC 3986, section 3.2.2).
    private static func bracketed(_ host: String) -> String {
        host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    }
}
