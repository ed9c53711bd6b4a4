// SPDX-License-Identifier: Apache-2.0

extension TableSchema {
    /// The handling of a batch that arrives twice, for example because ClickHouse stored it and its response was lost.
    package enum Deduplication: Equatable, Sendable {
        /// A MergeTree on one server deduplicates by the tokens of the last `window` inserts. With a window of 0 it
        /// deduplicates none, so that the rows are doubled. It does not deduplicate asynchronous inserts.
        case plain(window: Int)
        /// Replicas, or servers on shared storage, deduplicate by the tokens of the last `window` inserts.
        case replicated(window: Int)
        /// Another engine, such as Distributed, whose target tables are not visible from here.
        case unknown(engine: String)
        /// The server's user may not read the engine.
        case hidden

        static let plainSetting = "non_replicated_deduplication_window"
        static let replicatedSetting = "replicated_deduplication_window"

        /// Makes the value from a row of `system.tables`.
        ///
        /// - Parameters:
        ///   - engine: The engine's name.
        ///   - definition: The engine with its settings, on one line.
        ///   - plainDefault: The server's default window for a MergeTree.
        ///   - replicatedDefault: The server's default window for replicas.
        package init(engine: String, definition: String, plainDefault: String, replicatedDefault: String) {
            func window(_ setting: String, default: String) -> Int {
                // Whole words are compared: the replicas' setting is a suffix of the other's name.
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

        /// Whether there is, or may be, a window that does not apply to asynchronous inserts.
        var isSynchronousOnly: Bool {
            switch self {
            case .plain(let window): window > 0
            case .hidden: true
            case .replicated, .unknown: false
            }
        }

        /// True if the table is known to store an insert only once when it is retried with its token.
        func knowsRetries(isAsynchronous: Bool) -> Bool {
            switch self {
            case .plain(let window): window > 0 && !isAsynchronous
            case .replicated(let window): window > 0
            case .hidden, .unknown: false
            }
        }
    }

    /// True if ClickHouse passes an insert that the table already has on to its views, and each view deduplicates it by
    /// a token of its own: since 24.2 with the settings of ``InsertBatch``. Before 26.1, ClickHouse rejects these
    /// settings in asynchronous inserts.
    func passesRetriesToViews(isAsynchronous: Bool) -> Bool {
        isAsynchronous ? isServer(atLeast: 26, 1) : isServer(atLeast: 24, 2)
    }

    /// True if a batch that a view failed on reaches the view with another attempt, and the table stores it only once.
    func canRetryForViews(isAsynchronous: Bool) -> Bool {
        deduplication.knowsRetries(isAsynchronous: isAsynchronous)
            && passesRetriesToViews(isAsynchronous: isAsynchronous)
    }

    /// Whether asynchronous inserts would bypass the window, or their retries would not reach views.
    var isSynchronousOnly: Bool {
        if case .replicated = deduplication { return !passesRetriesToViews(isAsynchronous: true) }
        return deduplication.isSynchronousOnly
    }

    /// The oldest long-term support release that has all required features: tokens for asynchronous inserts, the
    /// exception's code in a header field, `Content-Encoding` for both compressions.
    static let oldestVersion = (23, 8)

    /// Returns warnings to log at startup, with remedies.
    public func warnings(_ asyncInsert: AsyncInsert = .automatic, _ viewErrors: ViewErrors = .automatic) -> [String] {
        var warnings: [String] = []
        if !serverVersion.isEmpty, !isServer(atLeast: Self.oldestVersion.0, Self.oldestVersion.1) {
            warnings.append(
                """
                ClickHouse \(serverVersion) is older than 23.8, which inserts require: a batch that is sent again may \
                be stored twice, and errors may be misclassified; upgrade ClickHouse
                """)
        }
        switch deduplication {
        case .plain(window: 0): warnings.append(windowWarning(Deduplication.plainSetting))
        case .replicated(window: 0): warnings.append(windowWarning(Deduplication.replicatedSetting))
        case .plain where asyncInsert == .always:
            warnings.append(
                """
                clickhouse_async_insert: true: the deduplication window of table \(table) applies to synchronous \
                inserts only, so a batch that is sent again may be stored twice; set clickhouse_async_insert: auto
                """)
        case .replicated where asyncInsert == .always && isSynchronousOnly:
            warnings.append(
                """
                clickhouse_async_insert: true: before ClickHouse 26.1, a batch that is sent again does not reach the \
                materialized views on table \(table); set clickhouse_async_insert: auto
                """)
        case .unknown(let engine):
            warnings.append(
                """
                table \(table) has the engine \(engine): whether a batch that is sent again is stored twice depends on \
                the tables behind it (deploy/clickhouse/003_deduplication_window.sql)
                """)
        case .plain, .replicated, .hidden: break
        }
        if let warning = viewWarning(viewErrors, isAsynchronous: asyncInsert.isAsynchronous(rows: 1, into: self)) {
            warnings.append(warning)
        }
        if !hidden.isEmpty { warnings.append(hiddenWarning) }
        return warnings
    }

    /// Returns the warning about rows that views lose because no retry completes them; nil if there is none.
    private func viewWarning(_ viewErrors: ViewErrors, isAsynchronous: Bool) -> String? {
        guard !canRetryForViews(isAsynchronous: isAsynchronous) else { return nil }
        let storesAgain = !deduplication.knowsRetries(isAsynchronous: isAsynchronous)
        switch viewErrors {
        case .ignored: return nil
        case .retried where storesAgain:
            return """
                clickhouse_view_errors: retry: each retry stores the batch again in table \(table), which is not known \
                to deduplicate inserts; set clickhouse_view_errors: auto
                """
        case .retried:
            return """
                clickhouse_view_errors: retry: no retry reaches the materialized views on table \(table); \
                \(viewRemedy(isAsynchronous: isAsynchronous))
                """
        case .automatic where views.isEmpty: return nil
        case .automatic:
            return """
                table \(table) has materialized views (\(views.joined(separator: ", "))), and a batch that is sent \
                again \(storesAgain ? "may be stored twice" : "does not reach them"): if a view fails, \
                clickhouse_view_errors: auto stores the batch without the view and does not report it; \
                \(viewRemedy(isAsynchronous: isAsynchronous))
                """
        }
    }

    /// Returns the change that makes retries complete views.
    private func viewRemedy(isAsynchronous: Bool) -> String {
        switch deduplication {
        case .plain(window: 0): return "give the table a window with deploy/clickhouse/003_deduplication_window.sql"
        case .replicated(window: 0): return "set \(Deduplication.replicatedSetting)"
        case .plain, .replicated:
            return isAsynchronous ? "set clickhouse_async_insert: auto" : "update ClickHouse to 24.2 or newer"
        case .unknown, .hidden: return "create the views on the tables behind it, and give those a deduplication window"
        }
    }

    private var hiddenWarning: String {
        // Several questions may have the same cost.
        let costs = hidden.map(\.cost).reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
        return """
            ClickHouse does not let the server's user read \(hidden.map(\.name).joined(separator: ", ")): \
            \(costs.joined(separator: "; ")); run: \
            \(hidden.map { "GRANT \($0.grant(quotedTable)) TO the user" }.joined(separator: "; "))
            """
    }

    private func windowWarning(_ setting: String) -> String {
        """
        table \(table) has no deduplication window: a batch that is sent again because ClickHouse's response was lost \
        is stored twice; run: ALTER TABLE \(quotedTable) MODIFY SETTING \(setting) = 10000
        """
    }
}
