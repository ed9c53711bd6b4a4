-- Is the load spread evenly over the replicas? Edit the namespace, the app and the port. The address that clients connect
-- to does not matter. Connections within a node, through another node's port and from masqueraded callers are in the
-- caller's rows only: the second half of the query reads those.
WITH 'shop' AS of_namespace, 'web' AS of_app, 80 AS of_port
SELECT
    replica,
    any(replica_zone) AS zone,
    uniqExact(caller, caller_port) AS connections,
    sumIf(moved, arrives) AS received,
    sumIf(moved, NOT arrives) AS sent,
    round(100 * sum(moved) / sum(sum(moved)) OVER (), 1) AS percent
FROM
(
    SELECT
        localPod AS replica, localAvailabilityZone AS replica_zone, remoteIPv4 AS caller, remotePort AS caller_port,
        direction = 'in' AS arrives, bytes AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 1 DAY
        AND localNamespace = of_namespace AND localApp = of_app AND localPort = of_port
        AND (remotePod != '' OR remoteNode IN ('', localNode) OR connectionFlags['translated'])
    UNION ALL
    SELECT
        remotePod AS replica, remoteAvailabilityZone AS replica_zone, localIPv4 AS caller, localPort AS caller_port,
        direction = 'out' AS arrives, bytes AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 1 DAY
        AND remoteNamespace = of_namespace AND remoteApp = of_app AND remotePort = of_port
        AND (localPod = '' OR localNode = remoteNode OR connectionFlags['translated'])
)
GROUP BY replica
ORDER BY replica
