// SPDX-License-Identifier: Apache-2.0

import LocalFiles

/// The address of the API server, and the credentials for it.
public struct ClusterConfiguration: Equatable, Sendable {
    /// The origin of the configuration, for logs.
    public var origin: String
    /// The API server's URL without a trailing slash, such as `https://10.96.0.1:443`.
    public var server: String
    /// The name required in the server's certificate; nil for that in the URL.
    package var serverName: String?
    /// Whether the server's certificate is checked.
    package var verifiesServer: Bool
    /// The authorities trusted to sign the server's certificate; nil for the system's.
    package var authorities: CredentialSource?
    /// The bearer token; nil for none.
    package var token: CredentialSource?
    /// The client's certificate; nil for none.
    package var certificate: CredentialSource?
    /// The key of `certificate`.
    package var key: CredentialSource?
    /// The namespace of the process or of the kubeconfig's context; nil if unknown.
    package var namespace: String?
    /// Defects of the configuration that do not prevent its use, a sentence each, for logs.
    public var warnings: [String]
    /// The `User-Agent` for the API server's audit log: a program and its version.
    public var userAgent = "kubenetmon"

    /// Makes a configuration from its parts.
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

    /// The directory of a pod's credentials for the API server
    /// (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
    public static let serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// Finds the configuration: the kubeconfig named by `KUBECONFIG`, else that of the pod in which this process runs.
    ///
    /// - Parameters:
    ///   - environment: The process's environment.
    ///   - serviceAccountDirectory: The directory with the pod's token, authority and namespace.
    public static func discover(
        environment: [String: String], serviceAccountDirectory: String = serviceAccountDirectory
    ) throws(ClusterConfigurationError) -> ClusterConfiguration {
        if let paths = environment["KUBECONFIG"], !paths.isEmpty { return try kubeconfig(paths: paths) }
        return try inCluster(environment: environment, directory: serviceAccountDirectory)
    }

    /// Returns the configuration of the pod in which this process runs: the server from the environment, the rest from
    /// files.
    package static func inCluster(
        environment: [String: String], directory: String = serviceAccountDirectory
    ) throws(ClusterConfigurationError) -> ClusterConfiguration {
        func variable(_ name: String) throws(ClusterConfigurationError) -> String {
            guard let value = environment[name], !value.isEmpty else {
                throw ClusterConfigurationError(
                    key: name, problem: "is not set, so this process does not run in a pod",
                    remedy: "outside a cluster, set KUBECONFIG to the path of a kubeconfig")
            }
            return value
        }
        let host = try variable("KUBERNETES_SERVICE_HOST")
        let port = try variable("KUBERNETES_SERVICE_PORT")
        guard let number = UInt16(port), number > 0 else {
            throw ClusterConfigurationError(
                key: "KUBERNETES_SERVICE_PORT", problem: "\(port.debugDescription) is not a port",
                remedy: "do not set the variable; Kubernetes sets it")
        }
        for name in ["token", "ca.crt"] {
            do throws(LocalFile.Failure) {
                _ = try LocalFile.bytes(of: "\(directory)/\(name)", maximumBytes: KubernetesLimits.fileBytes)
            } catch {
                throw ClusterConfigurationError(
                    file: "\(directory)/\(name)", problem: "cannot be read: \(error.reason)",
                    remedy: error.isMissing
                        ? "give the pod a service account (serviceAccountName) and do not set "
                            + "automountServiceAccountToken to false"
                        : "check the pod's securityContext (runAsUser, fsGroup)")
            }
        }
        let namespace = try? LocalFile.bytes(of: "\(directory)/namespace", maximumBytes: KubernetesLimits.fileBytes)
        return ClusterConfiguration(
            origin: "the pod's service account", server: "https://\(bracketed(host)):\(number)",
            authorities: .file("\(directory)/ca.crt"), token: .file("\(directory)/token"),
            namespace: namespace.map { String(decoding: $0, as: UTF8.self).trimmingWhitespace() })
    }

    /// Puts an IPv6 address in brackets, as URLs require (RFC 3986, section 3.2.2).
    private static func bracketed(_ host: String) -> String {
        host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host
    }
}
