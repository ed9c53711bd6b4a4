// SPDX-License-Identifier: Apache-2.0

/// The source of flows. The raw values serve as a metric's label.
public enum FlowSource: String, CaseIterable, Sendable {
    /// The kernel's conntrack table: the connection is alive.
    case scrape
    /// The DESTROY event at a connection's end.
    case destroy
}
