-- Adds columns to a table with those of 002_extended_columns.sql of an earlier release; the present 002 has them too. The
-- server fills `opened` and `conntrackZone` within a minute; in older rows they are '' and 0.
--
-- `opened`: the end that opened the connection, 'local' or 'remote' (docs/columns.md). `sourceTranslated` is a name for the
-- flag that 004_rollup_hourly.sql needs to count a byte once, and takes no space. `conntrackZone`: the conntrack zone.
--
-- One statement, because only columns that the same statement adds can be appended to the sorting key of a table that has
-- rows. On a cluster, run the command for 002 in docs/clickhouse.md instead.
ALTER TABLE network_flows_0
    ADD COLUMN IF NOT EXISTS `opened` LowCardinality(String) CODEC(ZSTD(1)) AFTER `direction`,
    ADD COLUMN IF NOT EXISTS `sourceTranslated` Bool ALIAS connectionFlags['translated'] AFTER `opened`,
    ADD COLUMN IF NOT EXISTS `conntrackZone` UInt16 CODEC(ZSTD(1)) AFTER `sourceTranslated`,
    MODIFY ORDER BY (date, intervalStartTime, direction, proto, localApp, remoteApp, localPod, remotePod, intervalSeconds, environment, connectionClass, connectionFlags, localCloud, localRegion, localCluster, localCell, localAvailabilityZone, localNode, localInstanceID, localNamespace, localIPv4, localPort, remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone, remoteNode, remoteInstanceID, remoteNamespace, remoteIPv4, remotePort, remoteCloudService, localWorkload, remoteWorkload, remoteService, localIPv6, remoteIPv6, opened, conntrackZone);
