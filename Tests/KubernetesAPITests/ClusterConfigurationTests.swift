// SPDX-License-Identifier: Apache-2.0

import Glibc
import TestSupport
import Testing

@testable import KubernetesAPI

/// Makes the folder of a service account.
private func serviceAccount() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    try folder.write("token-1\n", to: "token")
    try folder.write("authority\n", to: "ca.crt")
    try folder.write("monitoring\n", to: "namespace")
    return folder
}

@Suite struct ClusterConfigurationTests {
    @Test(
        "a pod finds the API server and its service account",
        arguments: [
            ("10.96.0.1", "https://10.96.0.1:443"), ("fd00:96::1", "https://[fd00:96::1]:443"),
            ("[fd00:96::1]", "https://[fd00:96::1]:443"),
            ("kubernetes.default.svc", "https://kubernetes.default.svc:443"),
        ])
    func aPodFindsItsServer(host: String, server: String) throws {
        let folder = try serviceAccount()
        let configuration = try ClusterConfiguration.discover(
            environment: ["KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"],
            serviceAccountDirectory: folder.path)
        #expect(configuration.server == server)
        #expect(configuration.token == .file("\(folder.path)/token"))
        #expect(configuration.authorities == .file("\(folder.path)/ca.crt"))
        #expect(configuration.namespace == "monitoring")
        #expect(configuration.verifiesServer)
        #expect(configuration.warnings.isEmpty)
    }

    @Test("a service account without a namespace file has no namespace")
    func aPodWithoutANamespaceFileHasNone() throws {
        let folder = try serviceAccount()
        try folder.remove("namespace")
        let configuration = try ClusterConfiguration.inCluster(
            environment: ["KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"], directory: folder.path)
        #expect(configuration.namespace == nil)
    }

    @Test(
        "a missing or invalid environment variable is named with a remedy",
        arguments: [
            ([:], "KUBERNETES_SERVICE_HOST"), (["KUBERNETES_SERVICE_HOST": "h"], "KUBERNETES_SERVICE_PORT"),
            (["KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": "443"], "KUBERNETES_SERVICE_HOST"),
            (["KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "http"], "KUBERNETES_SERVICE_PORT"),
            (["KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "0"], "KUBERNETES_SERVICE_PORT"),
        ])
    func aVariableThatIsMissingOrWrongIsNamed(environment: [String: String], key: String) throws {
        let folder = try serviceAccount()
        let error = #expect(throws: ClusterConfigurationError.self) {
            try ClusterConfiguration.discover(environment: environment, serviceAccountDirectory: folder.path)
        }
        #expect(error?.key == key)
        #expect(error?.remedy.isEmpty == false)
    }

    @Test("a missing file of the service account is named", arguments: ["token", "ca.crt"])
    func aServiceAccountThatIsNotThereIsNamed(file: String) throws {
        let folder = try serviceAccount()
        try folder.remove(file)
        let error = #expect(throws: ClusterConfigurationError.self) {
            try ClusterConfiguration.discover(
                environment: ["KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"],
                serviceAccountDirectory: folder.path)
        }
        #expect(error?.file == "\(folder.path)/\(file)")
        #expect(error?.description.contains("automountServiceAccountToken") == true)
    }

    @Test("a service account's file that may not be read is named, with what must be allowed")
    func deniedServiceAccount() throws {
        let folder = try serviceAccount()
        chmod("\(folder.path)/token", 0)
        let error = try FilePermissions.apply {
            #expect(throws: ClusterConfigurationError.self) {
                try ClusterConfiguration.discover(
                    environment: ["KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"],
                    serviceAccountDirectory: folder.path)
            }
        }
        #expect(error?.file == "\(folder.path)/token")
        #expect(error?.problem.contains("Permission denied; user \(geteuid()) must be allowed to read it") == true)
        #expect(error?.remedy.contains("securityContext") == true)
    }

    @Test("KUBECONFIG wins over the pod's service account") func aKubeconfigComesBeforeThePod() throws {
        let folder = try serviceAccount()
        let path = try folder.write(
            """
            current-context: a
            contexts: [{name: a, context: {cluster: c}}]
            clusters: [{name: c, cluster: {server: "http://127.0.0.1:8001/"}}]
            """, to: "config")
        let configuration = try ClusterConfiguration.discover(
            environment: [
                "KUBECONFIG": path, "KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443",
            ], serviceAccountDirectory: folder.path)
        #expect(configuration.server == "http://127.0.0.1:8001")
        #expect(configuration.token == nil)
        #expect(configuration.origin.contains(path))
    }
}
