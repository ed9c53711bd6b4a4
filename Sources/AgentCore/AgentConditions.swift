// SPDX-License-Identifier: Apache-2.0

package import FlowCollection

extension SelfCheck.Condition {
    /// The spool directory, if one is set, holds the unacknowledged batches; the exporter checks this.
    package static let spool = SelfCheck.Condition("spool")
    /// No other process holds the name of this network namespace's lock.
    static let instanceLock = SelfCheck.Condition("instance_lock")
}
