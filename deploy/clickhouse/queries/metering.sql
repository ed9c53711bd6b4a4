-- How much traffic did each workload have in each month in UTC, by kind? For bills. Edit the number of months; the hourly
-- table keeps 25. `sent` and `received` are the workload's own traffic. They are complete for every kind that can cost
-- anything; of the traffic within a node, which is SAME_ZONE, they include only the connections that the workload opened.
-- `once` can be summed over all workloads, because each byte is counted for exactly one of them.
-- Needs 004_rollup_hourly.sql, which explains which workload owns the bytes of a row.
WITH
    arrayJoin(multiIf(
        remoteNamespace = '', [false], localNamespace = '', [true], connectionFlags['translated'], [false, true],
        [false])) AS is_turned,
    -- A pod's row about another node repeats a row of that node; its bytesOnce is 0.
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
