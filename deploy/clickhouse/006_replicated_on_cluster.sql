-- Creates the schema of 001 to 005 on a cluster with replicas, in a new database; run it instead of them, not after them,
-- because tables that exist stay as they are. To a replicated network_flows_0 that exists it adds the rollup and the roles,
-- if the table has the columns of 002_extended_columns.sql (docs/clickhouse.md has the command).
--
-- Run it once, on any server of the cluster, with ClickHouse Keeper or ZooKeeper available. '{cluster}', '{shard}' and
-- '{replica}' are macros of the servers (the `macros` section of their configuration); without such macros, replace them
-- by hand.
--
-- kubenetmon-servers insert into network_flows_0 on any replica of a shard. All replicas of a shard recognize a batch
-- that is sent again by its token; other shards do not. With several shards, give each kubenetmon-server the endpoints of
-- one shard.
--
-- Before ClickHouse 26.1, kubenetmon-servers insert synchronously here, whatever the size of a batch
-- (clickhouse_async_insert: auto): with asynchronous inserts, a batch that is sent again would not reach the rollup.
--
-- Existing tables keep their definition, such as network_flows_hourly with PARTITION BY toYYYYMM(hour) of an earlier
-- version of this file. Do not create a new replica of a table with this file, which would give it another path and
-- perhaps another definition. Use the response of an existing replica to
--   SHOW CREATE TABLE network_flows_hourly FORMAT TSVRaw SETTINGS show_table_uuid_in_table_create_query_if_not_nil = 1
-- for network_flows_0 first and for the view last. The UUID is part of the path in Keeper, which rejects a replica with
-- another definition.
--
-- To make a table that has rows replicated in place, use ATTACH TABLE … AS REPLICATED, or ATTACH PARTITION … FROM for
-- each partition.
CREATE TABLE IF NOT EXISTS network_flows_0 ON CLUSTER '{cluster}'
(
    `date` Date CODEC(Delta(2), ZSTD(1)),
    `intervalStartTime` DateTime CODEC(Delta(4), ZSTD(1)),
    `intervalSeconds` UInt16 CODEC(Delta(2), ZSTD(1)),
    `environment` LowCardinality(String) CODEC(ZSTD(1)),
    `proto` LowCardinality(String) CODEC(ZSTD(1)),
    `connectionClass` LowCardinality(String) CODEC(ZSTD(1)),
    `connectionFlags` Map(LowCardinality(String), Bool) CODEC(ZSTD(1)),
    `direction` Enum('out' = 1, 'in' = 2) CODEC(ZSTD(1)),
    `opened` LowCardinality(String) CODEC(ZSTD(1)),
    `sourceTranslated` Bool ALIAS connectionFlags['translated'],
    `conntrackZone` UInt16 CODEC(ZSTD(1)),
    `localCloud` LowCardinality(String) CODEC(ZSTD(1)),
    `localRegion` LowCardinality(String) CODEC(ZSTD(1)),
    `localCluster` LowCardinality(String) CODEC(ZSTD(1)),
    `localCell` LowCardinality(String) CODEC(ZSTD(1)),
    `localAvailabilityZone` LowCardinality(String) CODEC(ZSTD(1)),
    `localNode` String CODEC(ZSTD(1)),
    `localInstanceID` String CODEC(ZSTD(1)),
    `localNamespace` LowCardinality(String) CODEC(ZSTD(1)),
    `localPod` String CODEC(ZSTD(1)),
    `localIPv4` IPv4 CODEC(Delta(4), ZSTD(1)),
    `localIPv6` IPv6 CODEC(ZSTD(1)),
    `localPort` UInt16 CODEC(Delta(2), ZSTD(1)),
    `localApp` String CODEC(ZSTD(1)),
    `localWorkload` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCloud` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteRegion` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCluster` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCell` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteAvailabilityZone` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteNode` String CODEC(ZSTD(1)),
    `remoteInstanceID` String CODEC(ZSTD(1)),
    `remoteNamespace` LowCardinality(String) CODEC(ZSTD(1)),
    `remotePod` String CODEC(ZSTD(1)),
    `remoteIPv4` IPv4 CODEC(Delta(4), ZSTD(1)),
    `remoteIPv6` IPv6 CODEC(ZSTD(1)),
    `remotePort` UInt16 CODEC(Delta(2), ZSTD(1)),
    `remoteApp` String CODEC(ZSTD(1)),
    `remoteWorkload` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteService` LowCardinality(String) CODEC(ZSTD(1)),
    `remoteCloudService` LowCardinality(String) CODEC(ZSTD(1)),
    `bytes` UInt64 CODEC(Delta(8), ZSTD(1)),
    `packets` UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', (bytes, packets))
PARTITION BY date
PRIMARY KEY (date, intervalStartTime, direction, proto, localApp, remoteApp, localPod, remotePod)
ORDER BY (date, intervalStartTime, direction, proto, localApp, remoteApp, localPod, remotePod, intervalSeconds, environment, connectionClass, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID, localNamespace, localIPv4, localPort, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID, remoteNamespace, remoteIPv4, remotePort, remoteCloudService, localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6, opened, conntrackZone)
TTL intervalStartTime + toIntervalDay(90)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, replicated_deduplication_window = 10000;

-- 004_rollup_hourly.sql describes this table and the meaning of bytesOnce.
CREATE TABLE IF NOT EXISTS network_flows_hourly ON CLUSTER '{cluster}'
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
ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', (bytes, packets, bytesOnce, packetsOnce))
PARTITION BY toYYYYMM(hour, 'UTC')
PRIMARY KEY (hour, localNamespace, localWorkload)
ORDER BY (hour, localNamespace, localWorkload, direction, connectionClass, environment, proto, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localApp, localInstanceID, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNamespace, remoteWorkload, remoteApp, remoteCloudService)
TTL hour + toIntervalMonth(25)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, replicated_deduplication_window = 10000;

-- Runs on the replica into which a batch is inserted; its target is replicated. An existing view keeps its SELECT:
-- replace it with ALTER TABLE network_flows_hourly_view ON CLUSTER '{cluster}' MODIFY QUERY, as 004_rollup_hourly.sql
-- does.
CREATE MATERIALIZED VIEW IF NOT EXISTS network_flows_hourly_view ON CLUSTER '{cluster}' TO network_flows_hourly
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

CREATE ROLE IF NOT EXISTS kubenetmon_writer ON CLUSTER '{cluster}';
GRANT ON CLUSTER '{cluster}' INSERT ON network_flows_0 TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT(date, intervalStartTime, direction, proto, localPod, packets, _part) ON network_flows_0 TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.tables TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.parts TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.metrics TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.merge_tree_settings TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.replicated_merge_tree_settings TO kubenetmon_writer;

CREATE ROLE IF NOT EXISTS kubenetmon_reader ON CLUSTER '{cluster}' SETTINGS readonly = 2;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_0 TO kubenetmon_reader;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_hourly TO kubenetmon_reader;
