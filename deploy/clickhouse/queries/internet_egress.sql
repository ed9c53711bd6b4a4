-- Which workloads send how much to the Internet, and to how many addresses? egress_cost.sql computes the cost. If an
-- external client connects through another node's port, the client is the row's local end and the workload the remote
-- end. Rows without a namespace are nodes, and containers behind them.
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
