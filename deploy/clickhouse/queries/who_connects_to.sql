-- Which clients connect to a workload, and from which zones? Edit the namespace, the app and the port: the end with the
-- server's port was called. Connections within a node, through another node's port and from masqueraded callers are in
-- the caller's rows only: the second half of the query reads those.
WITH 'shop' AS of_namespace, 'db' AS of_app, 5432 AS of_port
SELECT
    namespace,
    if(app = '', toString(address), app) AS caller,
    zone,
    uniqExact(address, port) AS connections,
    min(minute) AS first_seen,
    max(minute) AS last_seen,
    sum(moved) AS bytes_both_ways
FROM
(
    SELECT
        remoteNamespace AS namespace, remoteApp AS app, remoteAvailabilityZone AS zone, remoteIPv4 AS address,
        remotePort AS port, intervalStartTime AS minute, bytes AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 1 DAY
        AND localNamespace = of_namespace AND localApp = of_app AND localPort = of_port
        AND (remotePod != '' OR remoteNode IN ('', localNode) OR connectionFlags['translated'])
    UNION ALL
    SELECT
        localNamespace AS namespace, localApp AS app, localAvailabilityZone AS zone, localIPv4 AS address,
        localPort AS port, intervalStartTime AS minute, bytes AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 1 DAY
        AND remoteNamespace = of_namespace AND remoteApp = of_app AND remotePort = of_port
        AND (localPod = '' OR localNode = remoteNode OR connectionFlags['translated'])
)
GROUP BY namespace, caller, zone
ORDER BY connections DESC, caller, zone
