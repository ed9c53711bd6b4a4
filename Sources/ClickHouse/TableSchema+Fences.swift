// SPDX-License-Identifier: Apache-2.0

import FlowBlocks

extension TableSchema {
    /// The engine and the keys of a table, which decide whether a fence's row stays in it.
    struct Layout: Equatable, Sendable {
        /// The layout of deploy/clickhouse/001_network_flows_0.sql, as far as it matters.
        static let usual = Layout(
            engine: "SummingMergeTree", definition: "SummingMergeTree((bytes, packets))", partitionKey: "date",
            sortingKey: "localPod")

        /// The engine's name.
        let engine: String
        /// The engine with its arguments and settings, on one line.
        let definition: String
        let partitionKey: String
        let sortingKey: String

        /// Whether all rows of a day are in one partition, so that an insert of them makes one part.
        var keepsDaysTogether: Bool { partitionKey == "date" || partitionKey.isEmpty }

        /// Whether merges keep the row of a fence. Those of a SummingMergeTree replace rows with the same sorting key by
        /// their sum, and remove it if all summed columns are zero.
        var keepsMarkers: Bool {
            switch engine {
            case "MergeTree": return true
            case "SummingMergeTree":
                guard Self.words(sortingKey).contains(FlowColumn.label(.pod, .local).name) else { return false }
                let rest = definition.dropFirst(engine.count)
                // Without arguments, all numbers outside of the sorting key are summed.
                guard rest.hasPrefix("(") else { return true }
                let end = rest.firstRange(of: " PARTITION BY ") ?? rest.firstRange(of: " ORDER BY ")
                return Self.words(rest[..<(end?.lowerBound ?? rest.endIndex)])
                    .contains(FlowColumn.packets.name)
            default: return false
            }
        }

        private static func words(_ text: some StringProtocol) -> [String] {
            text.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" }).map { String($0) }
        }
    }

    /// Whether the rows of fences and of parts can be read. They are not asked for if the table has no window.
    var canReadRows: Bool {
        guard case .plain(let window) = deduplication, window > 0 else { return false }
        return !hidden.contains(.fences) && FenceMarker.columns.allSatisfy(columns.contains)
    }

    /// Returns the reason why fences cannot settle the fate of the table's blocks, as far as the schema tells; nil if
    /// there is none.
    func fenceObstacle(_ asyncInsert: AsyncInsert) -> String? {
        switch deduplication {
        case .plain(window: 0): return "table \(table) has no deduplication window"
        case .plain where asyncInsert == .always: return "asynchronous inserts are not deduplicated"
        case .plain: break
        case .replicated: return "table \(table) is replicated, which is not supported yet"
        case .unknown(let engine): return "table \(table) has the engine \(engine), whose deduplication is unknown"
        case .hidden: return "the server's user may not read \(Question.engine.name): \(missing(.engine))"
        }
        if let column = FenceMarker.columns.first(where: { !columns.contains($0) }) {
            return "table \(table) has no column \(column.name)"
        }
        guard layout.keepsDaysTogether else {
            return "table \(table) is partitioned by \(layout.partitionKey) rather than by date"
        }
        guard layout.keepsMarkers else { return "merges of table \(table) do not keep the row of a fence" }
        for question in [Question.fences, .parts] where hidden.contains(question) {
            return "the server's user may not read \(question.name): \(missing(question))"
        }
        return nil
    }

    private func missing(_ question: Question) -> String { "run: GRANT \(question.grant(quotedTable)) TO the user" }
}
