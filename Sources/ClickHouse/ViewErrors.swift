// SPDX-License-Identifier: Apache-2.0

/// The handling of a batch that a materialized view on the table fails on. ClickHouse reports the view's error as the
/// insert's, although the table has the rows.
public enum ViewErrors: String, CaseIterable, Sendable {
    /// The batch is retried for a limited time, so that a view that recovers gets it, and is then sent without the
    /// view. If a retry would be stored a second time or not reach the view, every attempt ignores views' errors.
    case automatic = "auto"
    /// Only the table's rows matter: every attempt ignores views' errors.
    case ignored = "ignore"
    /// The batch is kept and retried until the view accepts it.
    case retried = "retry"

    /// Whether the first attempt fails on views' errors.
    func areHeard(_ isAsynchronous: Bool, _ schema: TableSchema) -> Bool {
        switch self {
        case .automatic: schema.canRetryForViews(isAsynchronous: isAsynchronous)
        case .ignored: false
        case .retried: true
        }
    }
}
