// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@Suite struct ServerTests {
    /// Exit code 64 means wrong usage (sysexits.h).
    @Test(
        "a server with wrong settings reports all of them and exits with 64",
        arguments: [
            (nil, [], ["config.yaml: cannot be read: No such file or directory"]),
            (
                "cloud: aws\nport: x\n", [],
                ["config.yaml:1: missing key 'environment'", "config.yaml:2: port: 'x' is not"]
            ),
            ("", [], ["KUBERNETES_SERVICE_HOST", "KUBECONFIG", "--inventory", "inventory_file"]),
            ("inventory_file: /nowhere/i.yaml\n", [], ["/nowhere/i.yaml: cannot be read"]),
            (
                "inventory_file: /nowhere/i.yaml\n", ["--inventory", "/nowhere/j.yaml"],
                ["/nowhere/j.yaml: cannot be read"]
            ),
            ("", ["--log-level", "loud", "--prot=1"], ["'loud' is not trace", "--prot: there is no such flag"]),
        ] as [(String?, [String], [String])])
    func wrongSettingsAreToldAndNothingIsStarted(text: String?, flags: [String], told: [String]) async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)-config.yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        let required = "environment: testing\ncloud: aws\nregion: eu-central-1\ncluster: main\n"
        if let text {
            let isWhole = !text.hasPrefix("cloud")
            try ((isWhole ? required : "") + text).write(to: file, atomically: true, encoding: .utf8)
        }
        let child = try ChildProcess(
            Repository.program("kubenetmon-server"), ["--config", file.path, "--credentials", "/nowhere"] + flags)
        #expect(try await child.wait() == 64)
        let output = child.output
        for part in told { #expect(output.contains(part), "\(output)") }
    }
}
