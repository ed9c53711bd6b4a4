-- Fills one UTC day of the rollup from network_flows_0, for a day before the view of 004_rollup_hourly.sql was created. A
-- day that has rows in the rollup is not changed, so a second run adds nothing; the day on which the view was created
-- stays partial. Run it for one day at a time: clickhouse-client --param_day=2026-03-01 --queries-file
-- backfill_hourly.sql
INSERT INTO network_flows_hourly
    (hour, environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService,
    bytes, packets, bytesOnce, packetsOnce)
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
WHERE date = {day:Date} AND NOT (SELECT count() > 0 FROM network_flows_hourly WHERE toDate(hour, 'UTC') = {day:Date})
GROUP BY
    hour, environment, direction, proto, connectionClass, connectionFlags,
    localCloud, localRegion, localCluster, localCell, localAvailabilityZone,
    localNamespace, localWorkload, localApp, localInstanceID,
    remoteCloud, remoteRegion, remoteCluster, remoteCell, remoteAvailabilityZone,
    remoteNamespace, remoteWorkload, remoteApp, remoteCloudService;
