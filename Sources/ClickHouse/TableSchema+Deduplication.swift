// SPDX-License-Identifier: Apache-2.0

extension TableSchema {
    /// What happens to a batch that comes twice, as when ClickHouse stored it and its answer was lost.
    public enum Deduplication: Equatable, Sendable {
        /// A MergeTree on one server knows the last so many inserts by their tokens; with a window of 0, none: the rows are
        /// doubled. Asynchronous inserts are not known by their tokens.
        case plain(window: Int)
        /// Replicas, or servers on shared storage, know the last so many.
        case replicated(window: Int)
        /// Another engine, such as Distributed: what its target does cannot be seen from here.
        case unknown(engine: String)
        /// The server's user may not read it.
        case hidden

        static let plainSetting = "non_replicated_deduplication_window"
        static let replicatedSetting = "replicated_deduplication_window"

        /// Reads a row of `system.tables`.
        ///
        /// - Parameters:
        ///   - engine: The engine's name.
        ///   - definition: The engine with its settings, on one line.
        ///   - plainDefault: The server's own window for a MergeTree.
        ///   - replicatedDefault: That for replicas.
        init(engine: String, definition: String, plainDefault: String, replicatedDefault: String) {
            func window(_ setting: String, default: String) -> Int {
                // The setting for replicas is the end of the other's name.
                let set = definition.split(whereSeparator: { " ,".contains($0) }).drop { $0 != setting }.dropFirst()
                return set.first == "=" ? set.dropFirst().first.flatMap { Int($0) } ?? 0 : Int(`default`) ?? 0
            }
            if !engine.hasSuffix("MergeTree") {
                self = .unknown(engine: engine)
            } else if engine.hasPrefix("Replicated") || engine.hasPrefix("Shared") {
                self = .replicated(window: window(Self.replicatedSetting, default: replicatedDefault))
            } else {
                self = .plain(window: window(Self.plainSetting, default: plainDefault))
            }
        }

        /// Whether the window is there, or may be, and asynchronous inserts would go past it.
        var isSynchronousOnly: Bool {
            switch self {
            case .plain(let window): window > 0
            case .hidden: true
            case .replicated, .unknown: false
            }
        }

        /// True where the table is known to store an insert once that is sent again with its token.
        func knowsRetries(isAsynchronous: Bool) -> Bool {
            switch self {
            case .plain(let window): window > 0 && !isAsynchronous
            case .replicated(let window): window > 0
            case .hidden, .unknown: false
            }
        }
    }

    /// The oldest release with long-term support whose features are all relied upon: tokens for asynchronous inserts, the
    /// exception's code in a header field, `Content-Encoding` for both compressions.
    static let oldestVersion = (23, 8)

    /// What is worth a warning at start, and what to do about it.
    public func warnings(_ asyncInsert: AsyncInsert = .automatic, _ viewErrors: ViewErrors = .automatic) -> [String] {
        var warnings: [String] = []
        if !serverVersion.isEmpty, !isServer(atLeast: Self.oldestVersion.0, Self.oldestVersion.1) {
            warnings.append(
                """
                ClickHouse \(serverVersion) is older than 23.8, the oldest release that inserts are made for: a batch that \
                is sent again may be stored twice, and errors may not be told apart
                """)
        }
        switch deduplication {
        case .plain(window: 0): warnings.append(windowWarning(Deduplication.plainSetting))
        case .replicated(window: 0): warnings.append(windowWarning(Deduplication.replicatedSetting))
        case .plain where asyncInsert == .always:
            warnings.append(
                """
                clickhouse_async_insert: true: the deduplication window of table \(table) is for synchronous inserts; a \
                batch that is sent again may be stored twice
                """)
        case .unknown(let engine):
            warnings.append(
                """
                table \(table) is of the engine \(engine): whether a batch that is sent again is stored twice depends on \
                the tables behind it (deploy/clickhouse/003_deduplication_window.sql)
                """)
        case .plain, .replicated, .hidden: break
        }
        if viewErrors == .retried,
            !deduplication.knowsRetries(isAsynchronous: asyncInsert.isAsynchronous(rows: 1, into: deduplication))
        {
            warnings.append(
                """
                clickhouse_view_errors: retry: each retry stores the batch again in table \(table), which is not known to \
                drop duplicates; set clickhouse_view_errors: auto
                """)
        }
        if !hidden.isEmpty { warnings.append(hiddenWarning) }
        return warnings
    }

    private var hiddenWarning: String {
        // Some cost the same.
        let costs = hidden.map(\.cost).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        return """
            ClickHouse does not let the server's user read \(hidden.map(\.name).joined(separator: ", ")), so what they say is \
            unknown: \(costs.joined(separator: "; ")); run: \
            \(hidden.map { "GRANT \($0.grant(quotedTable)) TO the user" }.joined(separator: "; "))
            """
    }

    private func windowWarning(_ setting: String) -> String {
        """
        table \(table) has no deduplication window: a batch that is sent again, since ClickHouse's answer was lost, is \
        stored twice; run: ALTER TABLE \(quotedTable) MODIFY SETTING \(setting) = 10000
        """
    }
}
