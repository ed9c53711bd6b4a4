-- Which workloads send how much to the Internet, and to how many addresses? What it costs: egress_cost.sql. Where a visitor
-- came through another node's port, the row's local end is the visitor and the workload the remote one. Without a namespace:
-- nodes, and containers behind them.
WITH localPod = '' AND remotePod != '' AS is_turned
SELECT
    if(is_turned, remoteNamespace, localNamespace) AS namespace,
    if(is_turned, remoteApp, localApp) AS app,
    sum(bytes) AS sent,
    uniqExact(if(is_turned, localIPv4, remoteIPv4)) AS addresses,
    argMax(if(is_turned, localIPv4, remoteIPv4), bytes) AS largest_minute_to
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND connectionClass = 'PUBLIC_INTERNET'
    AND direction = if(remoteNode = '', 'out', 'in')
GROUP BY namespace, app
ORDER BY sent DESC
LIMIT 20
