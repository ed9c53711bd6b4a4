// SPDX-License-Identifier: Apache-2.0

/// A part of the schema that can be left out; the table of flows cannot.
public enum SchemaPart: String, CaseIterable, Sendable {
    /// The columns of workloads, services, IPv6 addresses, openers and conntrack zones.
    case columns
    /// The deduplication window of a table that is not replicated.
    case window
    /// The hourly rollup and its view.
    case rollup
    /// The roles of the server and of readers.
    case roles
    /// Tables that read all shards of a ClickHouse cluster.
    case distributed

    /// The parts that are made if no others are named.
    public static let usual: Set<SchemaPart> = [.columns, .window, .rollup, .roles]
}
