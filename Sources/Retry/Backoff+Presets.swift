// SPDX-License-Identifier: Apache-2.0

// All backoffs of the daemons: what waits for what, and why so long. The average wait is 0.55 of its bound.

extension Backoff {
    // MARK: - The agent

    /// The agent waits for a server that it cannot connect to, or that has closed the connection.
    ///
    /// When a server restarts, its agents are back within seconds. While no server runs, an agent makes four attempts a
    /// minute, which a server that starts receives from all of a cluster's nodes.
    public static var serverConnection: Backoff { Backoff(initial: .milliseconds(500), maximum: .seconds(30)) }

    /// The agent waits for a server while it shuts down.
    ///
    /// Batches that no server acknowledges within the grace period are left to the spool, or lost without one, so every
    /// wait is short.
    public static var serverConnectionAtShutdown: Backoff {
        Backoff(initial: .milliseconds(100), maximum: .seconds(1))
    }

    /// The agent waits for a spool directory that fails: a full or a broken disk.
    ///
    /// Batches stay in memory meanwhile. An attempt writes all of them, so the first wait is longer than a
    /// connection's.
    public static var spoolDirectory: Backoff { Backoff(initial: .seconds(1), maximum: .seconds(30)) }

    // MARK: - The server

    /// The server waits, before it accepts agents, for ClickHouse and its table.
    ///
    /// The server is not ready until then, and an attempt costs little, so it retries within ten seconds.
    public static var clickHouseTable: Backoff { Backoff(initial: .milliseconds(500), maximum: .seconds(10)) }

    /// A worker waits after an insert whose failure passes by itself: no connection, too many parts, too little memory.
    ///
    /// The first wait costs little latency. The longest does not delay the recovery, because a success of one worker
    /// ends the waits of others.
    public static var insert: Backoff { Backoff(initial: .milliseconds(200), maximum: .seconds(30)) }

    /// A worker waits after an insert whose failure needs an operator: a missing table, a wrong password.
    ///
    /// Retrying does not help before the operator has acted; a minute after that, rows are stored.
    public static var insertNeedingOperator: Backoff { Backoff(initial: .seconds(2), maximum: .seconds(60)) }

    /// A watch of the cluster waits after a failed request to the API server.
    ///
    /// The numbers of client-go's reflector (`NewReflectorWithOptions` in
    /// k8s.io/client-go/tools/cache/reflector.go), which API servers are used to.
    public static var watch: Backoff { Backoff(initial: .milliseconds(800), maximum: .seconds(30)) }

    /// A list of address ranges waits after a failed fetch from its provider.
    ///
    /// The last good list stays in use, and a list that works is fetched once a day: an hour's delay hardly matters,
    /// and a provider's public server is not asked more often.
    public static var rangeList: Backoff { Backoff(initial: .seconds(60), maximum: .seconds(3_600)) }

    /// A list of address ranges waits after a failed reading of its file, for the time between two checks of the file.
    public static func rangeFile(checkedEvery interval: Duration) -> Backoff {
        Backoff(initial: interval, maximum: interval)
    }
}
