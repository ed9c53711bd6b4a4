-- Adds columns for workloads, called services and IPv6 addresses, and those of 008: run again, this file must not make the
-- sorting key shorter, which ClickHouse would do, and could not undo. One statement, because only columns that the same
-- statement adds can be appended to the sorting key of a table that has rows. The server fills these columns within a
-- minute; they stay empty in older rows. On a cluster, add ON CLUSTER '{cluster}' behind the table's name
-- and run 007_distributed.sql again afterwards (docs/clickhouse.md).
ALTER TABLE network_flows_0
    ADD COLUMN IF NOT EXISTS `localWorkload` LowCardinality(String) CODEC(ZSTD(1)) AFTER `localApp`,
    ADD COLUMN IF NOT EXISTS `remoteWorkload` LowCardinality(String) CODEC(ZSTD(1)) AFTER `remoteApp`,
    ADD COLUMN IF NOT EXISTS `remoteService` LowCardinality(String) CODEC(ZSTD(1)) AFTER `remoteWorkload`,
    ADD COLUMN IF NOT EXISTS `localIPv6` IPv6 CODEC(ZSTD(1)) AFTER `localIPv4`,
    ADD COLUMN IF NOT EXISTS `remoteIPv6` IPv6 CODEC(ZSTD(1)) AFTER `remoteIPv4`,
    ADD COLUMN IF NOT EXISTS `opened` LowCardinality(String) CODEC(ZSTD(1)) AFTER `direction`,
    ADD COLUMN IF NOT EXISTS `sourceTranslated` Bool ALIAS connectionFlags['translated'] AFTER `opened`,
    ADD COLUMN IF NOT EXISTS `conntrackZone` UInt16 CODEC(ZSTD(1)) AFTER `sourceTranslated`,
    MODIFY ORDER BY (date, intervalStartTime, direction, proto, localApp, remoteApp, localPod, remotePod, intervalSeconds, environment, connectionClass, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID, localNamespace, localIPv4, localPort, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID, remoteNamespace, remoteIPv4, remotePort, remoteCloudService, localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6, opened, conntrackZone);
