-- Which namespace talks to which, each byte counted once? What a set of network policies has to allow. A byte is taken from
-- its sender's row, or where only one node reports it as what it is, from that node's (004_rollup_hourly.sql says which).
-- Nodes, and containers behind them, are INTRA_VPC.
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
