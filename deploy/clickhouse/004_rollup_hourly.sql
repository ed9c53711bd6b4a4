-- Bytes by hour and workload, for metering and for queries over months, such as what a team, a tenant or a class of
-- traffic costs. A small fraction of network_flows_0, kept for 25 months instead of 90 days. Needs the columns of
-- 002_extended_columns.sql. The view costs ClickHouse about 2 µs per inserted row.
--
-- The table has the columns that a price or a bill can depend on: owner (environment, cluster, cell, namespace, workload,
-- app, instance), place (cloud, region, zone), kind (class, flags such as that of a NAT gateway, protocol, cloud service)
-- and direction. It omits what multiplies the rows without making bills clearer: pods, nodes, addresses and ports.
--
-- `bytes` is everything that was observed. A byte between pods of two nodes is observed twice: as `out` on the sender's
-- node and as `in` on the receiver's. Both rows are correct for a query about one workload (what did it send, what did it
-- receive): filtered by the local columns and by direction, no byte is counted twice. A connection within a node is
-- reported once, from the end that opened it, and the rows of the other end lack it. Such a connection crosses no border
-- and costs nothing.
--
-- A sum of `bytes` over all workloads counts bytes between nodes twice. `bytesOnce` is for such sums: it has each byte in
-- exactly one row. It counts
--   in both directions: what no other node reports, that is, with a remote end without a node (the Internet, a cloud's
--     service, another cluster) or on the local node itself;
--   with a pod on another node: what is sent to it (its own node reports the other direction); both directions if its
--     node sees a node as the peer: for a process of a node, for an external client or a container behind the node (no
--     local pod), and for a source that the local node masquerades (the flag `translated`);
--   with another node: what a node, or a masqueraded source, sends to it. What a pod exchanges with another node itself
--     is in the rows of that node, or in no row if flows of nodes are omitted (ignore_node_flows).
-- The rule holds for both values of ignore_node_flows, if every node has an agent. For rows written before servers set
-- the flag, the sum is too small where nodes masquerade for pods that call pods.
--
-- Owner of the bytes of a row: the local pod; the remote pod if the local end is not a pod (localNamespace = '' and
-- remoteNamespace != ''); both pods if the row is `translated`, because the other node has no row that names them. With
-- ignore_node_flows: false, a pod's rows about another node repeat rows of that node: for rows whose remote end is a node
-- (remoteNamespace = '' and remoteCluster is this cluster), use bytesOnce instead of bytes unless they are `translated`,
-- as queries/metering.sql does.
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

-- The deduplication window above is the rollup's own: a batch that is sent again, because its first insert failed between
-- the two tables, reaches the rollup once too, with the settings that the server sends from ClickHouse 24.2 on
-- (docs/clickhouse.md). If network_flows_0 has no window (003), a batch on which the view fails is missing in the rollup
-- without a metric or a warning.
--
-- Hours and months are in UTC. A table created by an earlier version of this file is partitioned by the month in the
-- ClickHouse server's time zone, toYYYYMM(hour), and stays so: only rows at the ends of months are in another partition.
--
-- The view processes only rows that are inserted from now on; backfill_hourly.sql adds earlier days.
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

-- Gives a view created by an earlier version of this file the SELECT above. Earlier versions used hours of the ClickHouse
-- server's time zone, or omitted masqueraded traffic from bytesOnce. Rows that the rollup already has do not change.
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
