-- What did each workload move in each month in UTC, by kind? For bills, up to 25 months back. `sent` and `received` are the
-- workload's own and complete where they can cost anything; of traffic within a node, which is SAME_ZONE, they have only what
-- the workload opened itself. `once` may be summed over all workloads: every byte is in one of them.
-- Needs 004_rollup_hourly.sql.
WITH localCluster = 'UNKNOWN' AND remoteCluster != 'UNKNOWN' AS is_turned  -- a visitor through another node's port
SELECT
    toStartOfMonth(hour, 'UTC') AS month,
    environment,
    if(is_turned, remoteCluster, localCluster) AS cluster,
    if(is_turned, remoteNamespace, localNamespace) AS namespace,
    if(is_turned, remoteWorkload, localWorkload) AS workload,
    multiIf(
        connectionClass != 'INTRA_VPC', connectionClass,
        localAvailabilityZone != '' AND remoteAvailabilityZone != ''
            AND localAvailabilityZone != remoteAvailabilityZone, 'OTHER_ZONE',
        'SAME_ZONE') AS kind,
    sumIf(bytes, (direction = 'out') != is_turned) AS sent,
    sumIf(bytes, (direction = 'in') != is_turned) AS received,
    sum(bytesOnce) AS once
FROM network_flows_hourly
WHERE hour >= toDateTime(toStartOfMonth(now(), 'UTC') - INTERVAL 12 MONTH, 'UTC')
GROUP BY month, environment, cluster, namespace, workload, kind
ORDER BY month, namespace, workload, kind
