-- Bytes by hour and workload, for metering and for questions about months: what a team, a tenant or a class of traffic
-- costs. A small part of network_flows_0, kept for 25 months instead of 90 days. Needs the columns of
-- 002_extended_columns.sql. The view costs ClickHouse about 2 µs a row when rows are inserted.
--
-- Kept are the columns that a price or a bill can depend on: who (environment, cluster, cell, namespace, workload, app,
-- instance), where (cloud, region, zone), what kind (class, flags such as a NAT gateway's, protocol, cloud service) and
-- which way. Left out is what makes rows many and bills no clearer: pods, nodes, addresses and ports.
--
-- `bytes` are all that was observed, and a byte between pods of two nodes is observed twice: it is `out` on the sender's
-- node and `in` on the receiver's. Both rows are right for a question about one workload ("what did it send, what did it
-- receive"): filter by the local columns and by direction, and nothing is double. (A connection within a node is reported
-- once, from the side that opened it; the other side's rows lack it. It crosses no border and costs nothing.)
--
-- A sum over all workloads counts bytes between nodes twice. `bytesOnce` is for such sums: every byte is in one row alone.
-- Counted are
--   both ways: what no other node reports, that is, a remote end without a node (the Internet, a cloud's service, another
--     cluster) or on the local node itself;
--   of a pod on another node: what is sent to it (its own node reports the rest), and both ways where its node sees a node
--     as the peer: a node's own process, a visitor or a container behind the node (no local pod), or a source that the
--     local node has masqueraded (the flag `translated`);
--   of another node: what a node, or a masqueraded source, sends to it. What a pod exchanges with another node itself is in
--     that node's rows, and in no row where flows of nodes are left out (ignore_node_flows).
-- The rule holds for both settings of ignore_node_flows, where every node has an agent. Rows without the flag, from before
-- the server set it, count too little where nodes masquerade for pods that call pods.
--
-- Whose bytes are they? The local pod's; the remote pod's where the local end is no pod (localNamespace = '' and
-- remoteNamespace != ''); both pods' where the row is `translated`, since the other node has no row that names the two. With
-- ignore_node_flows: false, a pod's rows about another node repeat one of those; of rows whose remote end is a node
-- (remoteNamespace = '' and remoteCluster is ours) take bytesOnce for bytes unless they are `translated`, as
-- queries/metering.sql does.
CREATE TABLE IF NOT EXISTS network_flows_hourly
(
    `hour` DateTime CODEC(Delta(4), ZSTD(1)),
    `environment` LowCardinality(String) CODEC(ZSTD(1)),
    `direction` Enum('out' = 1, 'in' = 2) CODEC(ZSTD(1)),
    `proto` LowCardinality(String) CODEC(ZSTD(1)),
    `connectionClass` LowCardinality(String) CODEC(ZSTD(1)),
    `connectionFlags` Map(LowCardinality(String), Bool) CODEC(ZSTD(1)),
    `localCloud` LowCardinality(String) CODEC(ZSTD(1)),
    `localRegion` LowCardinality(String) CODEC(ZSTD(1)),
    `localCluster` LowCardinality(String) CODEC(ZSTD(1)),
    `localCell` LowCardinality(String) CODEC(ZSTD(1)),
    `localAvailabilityZone` LowCardinality(String) CODEC(ZSTD(1)),
    `localNamespace` LowCardinality(String) CODEC(ZSTD(1)),
    `localWorkload` LowCardinality(String) CODEC(ZSTD(1)),
    `localApp` LowCardinality(String) CODEC(ZSTD(1)),
    `localInstanceID` String CODEC(ZSTD(1)),
    `remoteCloud` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteRegion` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCluster` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCell` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteAvailabilityZone` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteNamespace` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteWorkload` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteApp` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCloudService` LowCardinality(String) CODEC(ZSTD(1)),
    `bytes` UInt64 CODEC(Delta(8), ZSTD(1)),
    `packets` UInt64 CODEC(Delta(8), ZSTD(1)),
    `bytesOnce` UInt64 CODEC(Delta(8), ZSTD(1)),
    `packetsOnce` UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = SummingMergeTree((bytes, packets, bytesOnce, packetsOnce))
PARTITION BY toYYYYMM(hour, 'UTC')
PRIMARY KEY (hour, localNamespace, localWorkload)
ORDER BY (hour, localNamespace, localWorkload, direction, connectionClass, environment, proto, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localApp, localInstanceID, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNamespace, remoteWorkload, remoteApp, remoteCloudService)
TTL hour + toIntervalMonth(25)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- The window above is the rollup's own: a batch that is sent again, since its first insert ended between the two tables,
-- reaches the rollup once as well, with the settings that the server sends from ClickHouse 24.2 on (docs/clickhouse.md). Where
-- network_flows_0 has no window (003), a batch that the view fails on is missing in the rollup without a sign.
--
-- Hours and months are those of UTC. A table that was made by an earlier form of this file is partitioned by the month of the
-- ClickHouse server's time zone, toYYYYMM(hour), and keeps that: only what a partition holds at the ends of months differs.
--
-- Sees only rows that are inserted from now on; backfill_hourly.sql fills in the days before.
CREATE MATERIALIZED VIEW IF NOT EXISTS network_flows_hourly_view TO network_flows_hourly
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS WITH multiIf(
    remoteNode IN ('', localNode), true,
    remotePod != '', direction = 'out' OR localPod = '' OR connectionFlags['translated'],
    direction = 'out' AND (localPod = '' OR connectionFlags['translated'])) AS is_once
SELECT
    toStartOfHour(flows.intervalStartTime, 'UTC') AS hour,
    environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService,
    sum(flows.bytes) AS bytes,
    sum(flows.packets) AS packets,
    sumIf(flows.bytes, is_once) AS bytesOnce,
    sumIf(flows.packets, is_once) AS packetsOnce
FROM network_flows_0 AS flows
GROUP BY
    hour, environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService;

-- A view that was made by an earlier form of this file is given the SELECT above: its hours were those of the ClickHouse
-- server's time zone, or its bytesOnce lacked what is masqueraded. Rows that are in the rollup already stay as they are.
ALTER TABLE network_flows_hourly_view MODIFY QUERY
WITH multiIf(
    remoteNode IN ('', localNode), true,
    remotePod != '', direction = 'out' OR localPod = '' OR connectionFlags['translated'],
    direction = 'out' AND (localPod = '' OR connectionFlags['translated'])) AS is_once
SELECT
    toStartOfHour(flows.intervalStartTime, 'UTC') AS hour,
    environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService,
    sum(flows.bytes) AS bytes,
    sum(flows.packets) AS packets,
    sumIf(flows.bytes, is_once) AS bytesOnce,
    sumIf(flows.packets, is_once) AS packetsOnce
FROM network_flows_0 AS flows
GROUP BY
    hour, environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService;
