-- The same as 001 to 005 on a cluster with replicas, for a new database; instead of them, not after them. To be run once, on
-- any of the cluster's servers, with ClickHouse Keeper or ZooKeeper at hand. '{cluster}', '{shard}' and '{replica}' are the
-- servers' own macros (the `macros` section of their configuration); replace them by hand where there are none.
--
-- Servers insert into network_flows_0 of any replica of a shard; a batch that is sent again to another replica of that shard
-- is known by its token. It is not known by another shard: with several, give each kubenetmon-server the endpoints of one.
--
-- Before ClickHouse 26.1, servers insert synchronously here whatever the size of a batch (clickhouse_async_insert: auto): with
-- asynchronous inserts, a batch that is sent again would not reach the rollup.
--
-- Existing tables keep their form, such as network_flows_hourly with PARTITION BY toYYYYMM(hour) of an earlier form of this file.
-- A new replica of a table is not made with this file, which would give it another path and perhaps another form, but with
-- what an existing replica answers to
--   SHOW CREATE TABLE network_flows_hourly FORMAT TSVRaw SETTINGS show_table_uuid_in_table_create_query_if_not_nil = 1
-- (the UUID is part of the path in Keeper, which refuses a replica of another form); of network_flows_0 first, of the view last.
--
-- A table that has rows becomes replicated in place: ATTACH TABLE … AS REPLICATED, or ATTACH PARTITION FROM one by one.
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
ORDER BY (date, intervalStartTime, direction, proto, localApp, remoteApp, localPod, remotePod, intervalSeconds, environment, connectionClass, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID, localNamespace, localIPv4, localPort, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID, remoteNamespace, remoteIPv4, remotePort, remoteCloudService, localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6)
TTL intervalStartTime + toIntervalDay(90)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, replicated_deduplication_window = 10000;

-- What it is, and what bytesOnce means: 004_rollup_hourly.sql.
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

-- Runs on the replica that a batch is inserted into; its target is replicated. An existing view keeps its SELECT: give it this
-- one with ALTER TABLE network_flows_hourly_view ON CLUSTER '{cluster}' MODIFY QUERY, as 004_rollup_hourly.sql does.
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
GRANT ON CLUSTER '{cluster}' SELECT ON system.tables TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.parts TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.metrics TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.merge_tree_settings TO kubenetmon_writer;
GRANT ON CLUSTER '{cluster}' SELECT ON system.replicated_merge_tree_settings TO kubenetmon_writer;

CREATE ROLE IF NOT EXISTS kubenetmon_reader ON CLUSTER '{cluster}' SETTINGS readonly = 2;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_0 TO kubenetmon_reader;
GRANT ON CLUSTER '{cluster}' SELECT ON network_flows_hourly TO kubenetmon_reader;
