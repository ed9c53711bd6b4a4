-- What did each workload move in each month in UTC, by kind? For bills, up to 25 months back. `sent` and `received` are the
-- workload's own and complete where they can cost anything; of traffic within a node, which is SAME_ZONE, they have only what
-- the workload opened itself. `once` may be summed over all workloads: every byte is in one of them.
-- Needs 004_rollup_hourly.sql, which says whose a row's bytes are.
WITH
    arrayJoin(multiIf(
        remoteNamespace = '', [false], localNamespace = '', [true], connectionFlags['translated'], [false, true],
        [false])) AS is_turned,
    -- A pod's row about another node repeats that node's, and has nothing in bytesOnce.
    if(localNamespace != '' AND remoteNamespace = '' AND remoteCluster NOT IN ('', 'UNKNOWN')
            AND NOT connectionFlags['translated'],
        bytesOnce, bytes) AS own
SELECT
    toStartOfMonth(hour, 'UTC') AS month,
    environment,
    if(localCluster = 'UNKNOWN', remoteCluster, localCluster) AS cluster,
    if(is_turned, remoteNamespace, localNamespace) AS namespace,
    if(is_turned, remoteWorkload, localWorkload) AS workload,
    multiIf(
        connectionClass NOT IN ('INTRA_VPC', 'INTRA_REGION'), connectionClass,
        localAvailabilityZone != '' AND remoteAvailabilityZone NOT IN ('', localAvailabilityZone), 'OTHER_ZONE',
        connectionClass = 'INTRA_VPC', 'SAME_ZONE',
        connectionClass) AS kind,
    sumIf(own, (direction = 'out') != is_turned) AS sent,
    sumIf(own, (direction = 'in') != is_turned) AS received,
    sumIf(bytesOnce, NOT is_turned OR localNamespace = '') AS once
FROM network_flows_hourly
WHERE hour >= toDateTime(toStartOfMonth(now(), 'UTC') - INTERVAL 12 MONTH, 'UTC')
GROUP BY month, environment, cluster, namespace, workload, kind
ORDER BY month, namespace, workload, kind
