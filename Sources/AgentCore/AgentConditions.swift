// SPDX-License-Identifier: Apache-2.0

package import FlowCollection

extension SelfCheck.Condition {
    /// The spool directory, where one is set, holds what is unacknowledged; the exporter looks after it.
    package static let spool = SelfCheck.Condition("spool")
    /// No other process holds the name of this network namespace's lock.
    package static let instanceLock = SelfCheck.Condition("instance_lock")
}
