// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import TestSupport
import Testing

@testable import KubernetesAPI

/// A kubeconfig with one cluster and one user, in a folder with the files that it may refer to.
private struct Kubeconfig {
    let folder: TemporaryFolder
    let path: String

    init(server: String = "https://prod.example:6443/", cluster: String = "", user: String = "") throws {
        folder = try TemporaryFolder()
        for file in ["ca.pem", "client.pem", "client.key", "token"] { try folder.write(file, to: file) }
        path = try folder.write(
            """
            apiVersion: v1
            kind: Config
            preferences: {}
            current-context: prod
            contexts:
            - name: dev
              context: {cluster: dev, user: dev}
            - name: prod
              context:
                cluster: prod-cluster
                user: admin
                namespace: monitoring
                extensions: [{name: x, extension: {last-update: today}}]
            clusters:
            - name: dev
              cluster: {server: https://dev.example}
            - name: prod-cluster
              cluster:
                server: \(server)
                \(cluster)
            users:
            - name: dev
              user: {token: wrong}
            - name: admin
              user:
                unknown: key
                \(user)
            """, to: "config")
    }

    func read() throws(ClusterConfigurationError) -> ClusterConfiguration {
        try ClusterConfiguration.kubeconfig(paths: path)
    }
}

@Suite struct KubeconfigTests {
    @Test("the current context selects cluster, user and namespace") func theCurrentContextCounts() throws {
        let configuration = try Kubeconfig(user: "token: secret").read()
        #expect(configuration.server == "https://prod.example:6443")
        #expect(configuration.namespace == "monitoring")
        #expect(configuration.token == .bytes(Array("secret".utf8)))
        #expect(configuration.authorities == nil)
        #expect(configuration.verifiesServer)
        #expect(configuration.warnings.isEmpty)
    }

    @Test("relative paths are resolved from the kubeconfig's folder") func pathsCountFromTheFilesFolder() throws {
        let file = try Kubeconfig(
            cluster: "certificate-authority: ca.pem",
            user: "{client-certificate: client.pem, client-key: ./client.key, tokenFile: token}"
                .trimmingBraces(separatedBy: "\n    "))
        let configuration = try file.read()
        let folder = file.folder.path
        #expect(configuration.authorities == .file("\(folder)/ca.pem"))
        #expect(configuration.certificate == .file("\(folder)/client.pem"))
        #expect(configuration.key == .file("\(folder)/./client.key"))
        #expect(configuration.token == .file("\(folder)/token"))
    }

    @Test("inline data is base64 and wins over files") func dataIsBase64AndComesBeforeFiles() throws {
        let file = try Kubeconfig(
            cluster: "{certificate-authority: nowhere, certificate-authority-data: Y2E=}"
                .trimmingBraces(separatedBy: "\n    "),
            user: "{client-certificate-data: Y2VydA==, client-key-data: a2V5}".trimmingBraces(separatedBy: "\n    "))
        let configuration = try file.read()
        #expect(configuration.authorities == .bytes(Array("ca".utf8)))
        #expect(configuration.certificate == .bytes(Array("cert".utf8)))
        #expect(configuration.key == .bytes(Array("key".utf8)))
    }

    @Test("a token file wins over a token") func aTokenFileComesBeforeAToken() throws {
        let file = try Kubeconfig(user: "{token: old, tokenFile: token}".trimmingBraces(separatedBy: "\n    "))
        #expect(try file.read().token == .file("\(file.folder.path)/token"))
    }

    @Test("an unverified server causes a warning") func anUncheckedServerIsAWarning() throws {
        let configuration = try Kubeconfig(cluster: "insecure-skip-tls-verify: true").read()
        #expect(!configuration.verifiesServer)
        #expect(configuration.warnings.count == 1)
        #expect(configuration.warnings.first?.contains("insecure-skip-tls-verify") == true)
        #expect(try Kubeconfig(cluster: "insecure-skip-tls-verify: false").read().verifiesServer)
    }

    @Test(
        "a token sent to another machine without TLS causes a warning",
        arguments: [
            ("http://prod.example:8080", "token: secret", true), ("http://prod.example", "tokenFile: token", true),
            ("http://127.0.0.1:8001", "token: secret", false), ("http://[::1]:8001", "token: secret", false),
            ("http://localhost:8001", "token: secret", false), ("http://prod.example", "", false),
            ("https://prod.example", "token: secret", false),
        ])
    func exposedToken(server: String, user: String, isWarned: Bool) throws {
        let warnings = try Kubeconfig(server: server, user: user).read().warnings
        #expect(warnings.count == (isWarned ? 1 : 0))
        for warning in warnings {
            #expect(
                warning.contains("clusters[prod-cluster].cluster.server: the token is sent unencrypted to \(server): "))
            #expect(!warning.contains("secret"))
        }
    }

    @Test("tls-server-name sets the name to verify") func theServersNameCanBeAnother() throws {
        #expect(try Kubeconfig(cluster: "tls-server-name: api.example").read().serverName == "api.example")
    }

    @Test("of several kubeconfigs the first that exists counts") func theFirstFileThatExistsCounts() throws {
        let file = try Kubeconfig()
        let paths = ":/nonexistent/config:\(file.path):/nonexistent/other"
        #expect(try ClusterConfiguration.kubeconfig(paths: paths).server == "https://prod.example:6443")
    }

    @Test(
        "no existing kubeconfig is an error of KUBECONFIG",
        arguments: ["/nonexistent/config", "/nonexistent/a:/nonexistent/b", ":"])
    func noFileIsAnErrorOfTheVariable(paths: String) {
        let error = #expect(throws: ClusterConfigurationError.self) {
            try ClusterConfiguration.kubeconfig(paths: paths)
        }
        #expect(error?.key == "KUBECONFIG")
    }

    @Test(
        "an unsupported or invalid key of a user is named",
        arguments: [
            ("exec: {command: aws}", "users[admin].user.exec"),
            ("auth-provider: {name: gcp}", "users[admin].user.auth-provider"),
            ("username: root", "users[admin].user.username"), ("as: somebody", "users[admin].user.as"),
            ("client-certificate: client.pem", "users[admin].user.client-key"),
            ("client-key: client.key", "users[admin].user.client-certificate"),
            ("client-key: /nonexistent/key", "users[admin].user.client-key"),
            ("client-certificate-data: '%%%'", "users[admin].user.client-certificate-data"),
        ])
    func whatAUserCannotBeIsNamed(user: String, key: String) throws {
        let file = try Kubeconfig(user: user)
        let error = #expect(throws: ClusterConfigurationError.self) { try file.read() }
        #expect(error?.file == file.path)
        #expect(error?.key == key)
        #expect(error?.remedy.isEmpty == false)
    }

    @Test(
        "an unsupported or invalid key of a cluster is named",
        arguments: [
            ("proxy-url: http://proxy", "clusters[prod-cluster].cluster.proxy-url"),
            ("certificate-authority: nowhere.pem", "clusters[prod-cluster].cluster.certificate-authority"),
            ("certificate-authority-data: '!'", "clusters[prod-cluster].cluster.certificate-authority-data"),
            ("insecure-skip-tls-verify: perhaps", "clusters[prod-cluster].cluster.insecure-skip-tls-verify"),
        ])
    func whatAClusterCannotBeIsNamed(cluster: String, key: String) throws {
        let file = try Kubeconfig(cluster: cluster)
        let error = #expect(throws: ClusterConfigurationError.self) { try file.read() }
        #expect(error?.file == file.path)
        #expect(error?.key == key)
    }

    @Test(
        "a mistake in a kubeconfig is reported with file and key",
        arguments: [
            ("", nil), ("- a", nil), ("a: [", nil), ("contexts: []", "current-context"),
            ("current-context: x", "current-context"),
            ("{current-context: x, contexts: [{name: x}]}", "contexts[x].context.cluster"),
            ("{current-context: x, contexts: [{name: x, context: {cluster: c}}]}", "contexts[x].context.cluster"),
            (
                "{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c}]}",
                "clusters[c].cluster.server"
            ),
            (
                "{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {server: h}}]}",
                "clusters[c].cluster.server"
            ),
            (
                """
                {current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
                clusters: [{name: c, cluster: {server: 'https://h'}}]}
                """, "contexts[x].context.user"
            ),
        ])
    func aBrokenFileSaysWhere(text: String, key: String?) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(text, to: "config")
        let error = #expect(throws: ClusterConfigurationError.self) {
            try ClusterConfiguration.kubeconfig(paths: path)
        }
        #expect(error?.file == path)
        #expect(error?.key == key)
    }

    @Test("a kubeconfig in a directory that may not be searched is named and not skipped")
    func hidden() throws {
        let (denied, other) = (try Kubeconfig(), try Kubeconfig())
        defer { chmod(denied.folder.path, 0o700) }
        chmod(denied.folder.path, 0)
        let (deniedPath, otherPath) = (denied.path, other.path)
        let error = try FilePermissions.apply {
            #expect(throws: ClusterConfigurationError.self) {
                try ClusterConfiguration.kubeconfig(paths: "\(deniedPath):\(otherPath)")
            }
        }
        #expect(error?.file == denied.path)
        #expect(error?.problem.contains("must be allowed to search the directories above it") == true)
    }

    @Test("a path that does not exist is skipped, also below a file that is no directory")
    func skipped() throws {
        let kubeconfig = try Kubeconfig()
        let paths = "\(kubeconfig.folder.path)/missing:\(kubeconfig.path)/config:\(kubeconfig.path)"
        #expect(try ClusterConfiguration.kubeconfig(paths: paths).origin.contains("\(kubeconfig.path), context prod"))
    }

    @Test("a kubeconfig is read from a pipe, such as a shell's <(command)")
    func pipe() throws {
        let (kubeconfig, pipe) = (try Kubeconfig(), Pipe())
        try pipe.fileHandleForWriting.write(contentsOf: Data(contentsOf: URL(filePath: kubeconfig.path)))
        try pipe.fileHandleForWriting.close()
        let paths = "/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)"
        #expect(try ClusterConfiguration.kubeconfig(paths: paths).server == "https://prod.example:6443")
    }

    @Test("a printed configuration contains no secret") func noTextOfAConfigurationTellsASecret() throws {
        let configuration = try Kubeconfig(user: "token: secret").read()
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("secret"))
            #expect(!text.contains("\(Array("secret".utf8))"))
        }
    }
}

extension String {
    /// Returns the items of a flow mapping, each on its own line.
    fileprivate func trimmingBraces(separatedBy indentation: String) -> String {
        dropFirst().dropLast().split(separator: ", ").joined(separator: indentation)
    }
}
