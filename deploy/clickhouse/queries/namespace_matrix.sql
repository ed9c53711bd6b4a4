-- Which namespaces exchange traffic? The result shows what a set of network policies has to allow. Each byte counts once,
-- by the rule of 004_rollup_hourly.sql: in its sender's row or, if only one node reports both ends, in that node's row.
-- Nodes, and containers behind them, appear as INTRA_VPC.
WITH
    multiIf(localNamespace != '', localNamespace, remoteNode = '', 'INTRA_VPC', connectionClass) AS here,
    multiIf(remoteNamespace != '', remoteNamespace, remoteNode != '', 'INTRA_VPC', connectionClass) AS there
SELECT
    if(direction = 'out', here, there) AS from_namespace,
    if(direction = 'out', there, here) AS to_namespace,
    sum(bytes) AS moved,
    round(100 * moved / sum(moved) OVER (), 1) AS percent
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND multiIf(
        remoteNode IN ('', localNode), true,
        remotePod != '', direction = 'out' OR localPod = '' OR connectionFlags['translated'],
        direction = 'out' AND (localPod = '' OR connectionFlags['translated']))
GROUP BY from_namespace, to_namespace
ORDER BY moved DESC, from_namespace, to_namespace
LIMIT 100
