// SPDX-License-Identifier: Apache-2.0

/// What becomes of a batch where a materialized view on the table fails. ClickHouse reports the view's error as the insert's,
/// although the table has the rows.
public enum ViewErrors: String, CaseIterable, Sendable {
    /// Tried again for a while, so that a view that recovers has the batch, then without the view. Where a retry would be stored
    /// a second time or not reach the view, no attempt hears of a view's error.
    case automatic = "auto"
    /// The rows of the table count: no attempt hears of a view's error.
    case ignored = "ignore"
    /// The batch is kept and tried again until the view takes it.
    case retried = "retry"

    /// Whether the first attempt hears of views' errors.
    func areHeard(_ isAsynchronous: Bool, _ schema: TableSchema) -> Bool {
        switch self {
        case .automatic: schema.canRetryForViews(isAsynchronous: isAsynchronous)
        case .ignored: false
        case .retried: true
        }
    }
}
