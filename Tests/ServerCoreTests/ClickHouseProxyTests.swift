// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@Suite struct ClickHouseProxyTests {
    @Test(
        "the environment's proxy is used for ClickHouse only with the setting environment, and else named as unused",
        arguments: [("none", 20_301), ("environment", 20_303)])
    func environment(setting: String, port: Int) async throws {
        let (clickHouse, proxy) = (try RawHTTPServer { _, _ in .silence }, try RawHTTPServer { _, _ in .silence })
        let folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "config.yaml")
        try """
        environment: testing
        cloud: aws
        region: eu-central-1
        cluster: main
        port: \(port)
        metrics_port: \(port + 1)
        clickhouse_endpoint: \(clickHouse.url)
        clickhouse_proxy: \(setting)
        cloud_ranges: {enabled: false}
        inventory_file: \(Repository.file("tools/lab-inventory.yaml").path)
        """.write(to: file, atomically: true, encoding: .utf8)
        let server = try ChildProcess(
            Repository.program("kubenetmon-server"), ["--config", file.path, "--credentials", "/nowhere"],
            environment: ["http_proxy": proxy.url, "no_proxy": "", "NO_PROXY": ""])
        let asked = setting == "none" ? clickHouse : proxy
        try await eventually("ClickHouse or the proxy has received a request") { !asked.requests.isEmpty }
        #expect((setting == "none" ? proxy : clickHouse).requests.isEmpty)
        let line = "the proxy in the environment is not used for ClickHouse"
        #expect(server.output.contains(line) == (setting == "none"), "\(server.output)")
        if setting == "none" { #expect(server.output.contains("http_proxy") && !server.output.contains(proxy.url)) }
    }
}
