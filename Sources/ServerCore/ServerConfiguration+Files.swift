// SPDX-License-Identifier: Apache-2.0

package import CloudRanges
package import ClusterModel
package import DocumentTree
import FlowModel
import Glibc
import HTTPClient
import InventoryFile
import Logging
import YAMLParsing

extension ServerConfiguration {
    /// Returns the content of the inventory file; empty if there is none.
    package func inventory() throws(DocumentProblems) -> Inventory {
        guard let inventoryFile else { return Inventory() }
        return try Inventory(contentsOf: inventoryFile)
    }

    /// Returns the ranges of the settings together with those of an inventory.
    package func cloudRanges(with inventory: Inventory) -> CloudRangeCatalog.Configuration {
        var ranges = cloudRanges
        ranges.namedRanges += inventory.ranges
        return ranges
    }

    /// Returns the warnings about the files' content, one line each.
    package func warningsOfFiles() -> [String] {
        guard isClickHouseEnabled else { return [] }
        return [clickHouse.credentials.warning, warningOfExposure].compactMap { $0 }
    }

    private var warningOfExposure: String? {
        let exposed = clickHouse.endpoints.filter { $0.hasPrefix("http://") && !URLAuthority($0).isLoopback }
        guard !exposed.isEmpty else { return nil }
        let password = (try? clickHouse.credentials.read().password) ?? ""
        guard !password.isEmpty || !clickHouse.headers.isEmpty else { return nil }
        return """
            ClickHouse's \(password.isEmpty ? "clickhouse_headers are sent" : "password is sent") unencrypted to \
            \(exposed.joined(separator: ", ")): write https:// in clickhouse_endpoint, or remove \
            clickhouse_disable_tls (the chart's inserter.disableTLS)
            """
    }

    /// Returns the problems with the files that the settings name, one line each.
    func problemsOfFiles() -> [String] {
        var problems: [String] = []
        do throws(DocumentProblems) { _ = try inventory() } catch { problems.append("\(error)") }
        do { _ = try clickHouse.credentials.read() } catch { problems.append("\(error)") }
        return problems + problemsOfClickHouseTLS() + agents.problemsOfFiles + problemsOfRanges()
    }

    private func problemsOfClickHouseTLS() -> [String] {
        let tls = clickHouse.tls
        let files = [tls.authorities, tls.certificate, tls.key].compactMap { $0 }
        var problems: [String] = []
        for case .file(let path) in files where access(path, R_OK) != 0 {
            problems.append("\(path): cannot be read: \(String(cString: strerror(errno)))")
        }
        guard problems.isEmpty, !files.isEmpty else { return problems }
        do throws(HTTPError) {
            try tls.check()
            return []
        } catch {
            return ["clickhouse_ca_file, clickhouse_certificate_file, clickhouse_key_file: \(error)"]
        }
    }

    private func problemsOfRanges() -> [String] {
        var ranges = cloudRanges
        ranges.cacheDirectory = nil
        ranges.sources = ranges.sources.filter { if case .file = $0.value { true } else { false } }
        let catalog = CloudRangeCatalog(
            configuration: ranges, logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() }, onChange: { _ in })
        catalog.loadFromDisk()
        return catalog.statistics.sources.compactMap(\.lastError)
    }
}
