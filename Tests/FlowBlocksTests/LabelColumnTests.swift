// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowBlocks
import Foundation
import TestSupport
import Testing

private let extensionOfTable = "deploy/clickhouse/002_extended_columns.sql"
private let clusterTables = "deploy/clickhouse/006_replicated_on_cluster.sql"
/// Sets the sorting key once more, and must not make it shorter.
private let laterExtension = "deploy/clickhouse/008_opened_and_zone.sql"

private func text(_ path: String) throws -> String { try String(contentsOf: Repository.file(path), encoding: .utf8) }

private func names(_ definition: LabelDefinition) -> [String] {
    ((definition.hasLocalColumn ? ["local"] : []) + ["remote"]).map { $0 + definition.column }
}

/// Returns what a label lacks outside Swift: a file, and what should be in it.
private func missing(_ definition: LabelDefinition) throws -> [(file: String, what: String)] {
    var missing: [(String, String)] = []
    let table = "deploy/clickhouse/\(definition.migration ?? "001_network_flows_0").sql"
    for file in table == laterExtension ? [table, clusterTables] : [table, laterExtension, clusterTables] {
        let sql = (try? text(file)) ?? ""
        let keys = sql.components(separatedBy: "ORDER BY (").dropFirst().first?.prefix { $0 != ")" }
        let sorted = (keys ?? "").components(separatedBy: ", ")
        for name in names(definition) {
            if file != laterExtension || file == table, !sql.contains("`\(name)` ") {
                missing.append((file, "the column `\(name)`"))
            }
            if !sorted.contains(name) { missing.append((file, "\(name) in ORDER BY")) }
        }
    }
    missing += try missingMeanings(definition).map { ("docs/columns.md", $0) }
    if case .podLabel(let setting, _) = definition.source,
        try !text("docs/configuration.md").contains("| `pod_labels.\(setting)` |")
    {
        missing.append(("docs/configuration.md", "pod_labels.\(setting), by make configuration-reference"))
    }
    return missing
}

/// Returns the lines that docs/columns.md lacks.
private func missingMeanings(_ definition: LabelDefinition) throws -> [String] {
    let columns = try text("docs/columns.md").components(separatedBy: "## `network_flows_hourly`")[0]
    let cells = columns.components(separatedBy: "\n").map { $0.components(separatedBy: " | ") }
    let migration = definition.migration.map { " (\($0.prefix(3)))" } ?? ""
    func isTold(_ column: String, _ meanings: String...) -> Bool {
        cells.contains { row in
            row[0].contains("`\(column)`") && meanings.contains { row.dropFirst() == ["\($0)\(migration) |"] }
        }
    }
    let (local, remote) = ("local\(definition.column)", "remote\(definition.column)")
    switch definition.meaning {
    case .both(let meaning):
        let isComplete = isTold(local, meaning) && isTold(remote, meaning, "as for the local end")
        return isComplete ? [] : ["| `\(local)`, `\(remote)` | \(meaning)\(migration) |"]
    case .each(let ofLocal, let ofRemote):
        return (isTold(local, ofLocal) ? [] : ["| `\(local)` | \(ofLocal)\(migration) |"])
            + (isTold(remote, ofRemote) ? [] : ["| `\(remote)` | \(ofRemote)\(migration) |"])
    case .remoteOnly(let meaning):
        return isTold(remote, meaning) ? [] : ["| `\(remote)` | \(meaning)\(migration) |"]
    }
}

@Suite struct LabelColumnTests {
    @Test("A label has all that its declaration calls for", arguments: Label.allCases)
    func places(label: Label) throws {
        for (file, what) in try missing(label.definition) { Issue.record("\(file) lacks \(what)") }
        #expect(FlowColumn.columns(of: label).map(\.name) == names(label.definition))
        #expect(FlowColumn.allCases.filter(FlowColumn.columns(of: label).contains) == FlowColumn.columns(of: label))
    }

    @Test("Label.Values has a place for each label")
    func count() {
        #expect(Label.Values(repeating: 0).count == Label.allCases.count)
        #expect(Label.allCases.map(\.rawValue) == Array(Label.allCases.indices))
    }

    @Test("Of a label that is declared and no more, every other place is named")
    func declaredOnly() throws {
        let definition = LabelDefinition(
            column: "Imaginary", source: .podLabel(setting: "imaginary", defaultKeys: []), meaning: .both("imaginary"),
            migration: "002_extended_columns")
        #expect(
            try missing(definition).map { "\($0): \($1)" } == [
                "\(extensionOfTable): the column `localImaginary`", "\(extensionOfTable): localImaginary in ORDER BY",
                "\(extensionOfTable): the column `remoteImaginary`", "\(extensionOfTable): remoteImaginary in ORDER BY",
                "\(laterExtension): localImaginary in ORDER BY", "\(laterExtension): remoteImaginary in ORDER BY",
                "\(clusterTables): the column `localImaginary`", "\(clusterTables): localImaginary in ORDER BY",
                "\(clusterTables): the column `remoteImaginary`", "\(clusterTables): remoteImaginary in ORDER BY",
                "docs/columns.md: | `localImaginary`, `remoteImaginary` | imaginary (002) |",
                "docs/configuration.md: pod_labels.imaginary, by make configuration-reference",
            ])
    }

    @Test("CONTRIBUTING.md lists these places")
    func contributing() throws {
        let row = try #require(
            try text("CONTRIBUTING.md").components(separatedBy: "\n").first { $0.hasPrefix("| label column |") })
        #expect(
            row.components(separatedBy: "`").filter { $0.contains("/") } == [
                "Sources/ClusterModel/Label.swift", "Sources/Labeling/ClusterRecords.swift",
                "Sources/Labeling/RangeTable.swift", extensionOfTable, laterExtension, clusterTables,
                "Tests/DeployTests/engine.py", "docs/columns.md", "docs/labels.md",
            ])
        #expect(row.contains("`make configuration-reference`"))
    }

    @Test("One file of Swift names a label that comes from a label of the pod")
    func declaration() throws {
        let sources = Repository.file("Sources")
        let paths = try #require(FileManager.default.enumerator(atPath: sources.path)).compactMap { $0 as? String }
        let files = try paths.filter { $0.hasSuffix(".swift") }.filter { path in
            try String(contentsOf: sources.appending(path: path), encoding: .utf8).components(separatedBy: "\n")
                .contains { line in
                    !line.contains("///") && ["instanceID", "instance_id", "InstanceID"].contains(where: line.contains)
                }
        }
        #expect(files == ["ClusterModel/Label.swift"])
    }

    @Test("The columns are those of the table, in its order, and then those of its extension")
    func columns() throws {
        let names = FlowColumn.allCases.map(\.name)
        let table = try text("deploy/clickhouse/001_network_flows_0.sql").components(separatedBy: "\n")
            .filter { $0.hasPrefix("    `") }.map { $0.components(separatedBy: "`")[1] }
        #expect(Array(names.prefix(table.count)) == table && Set(names).count == names.count)
        #expect(
            Set(names).isSuperset(of: ["localWorkload", "remoteWorkload", "remoteService", "localIPv6", "remoteIPv6"]))
    }
}
