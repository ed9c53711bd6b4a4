-- What changed with a deployment? Edit the time, the workload and the length of the periods before and after it. Each row
-- has the bytes and connections with one peer. Connections within a node that a peer opened, connections through another
-- node's port and connections of masqueraded peers are in the peer's rows only: the second half of the query reads those.
WITH
    toDateTime('2026-03-02 11:00:00', 'UTC') AS deployed,
    INTERVAL 1 HOUR AS around,
    'shop' AS of_namespace,
    'web' AS of_app
SELECT
    peer,
    sumIf(moved, minute < deployed) AS bytes_before,
    sumIf(moved, minute >= deployed) AS bytes_after,
    if(bytes_before = 0, NULL, round(100 * (bytes_after / bytes_before - 1), 1)) AS percent_change,
    uniqExactIf(connection, minute < deployed) AS connections_before,
    uniqExactIf(connection, minute >= deployed) AS connections_after
FROM
(
    SELECT
        if(remoteApp = '', connectionClass, remoteApp) AS peer, intervalStartTime AS minute, bytes AS moved,
        (localIPv4, localPort, remoteIPv4, remotePort) AS connection
    FROM network_flows_0
    WHERE intervalStartTime >= deployed - around AND intervalStartTime < deployed + around
        AND localNamespace = of_namespace AND localApp = of_app
        AND (remotePod != '' OR remoteNode IN ('', localNode) OR connectionFlags['translated'])
    UNION ALL
    SELECT
        if(localApp = '', connectionClass, localApp) AS peer, intervalStartTime AS minute, bytes AS moved,
        (localIPv4, localPort, remoteIPv4, remotePort) AS connection
    FROM network_flows_0
    WHERE intervalStartTime >= deployed - around AND intervalStartTime < deployed + around
        AND remoteNamespace = of_namespace AND remoteApp = of_app
        AND (localPod = '' OR localNode = remoteNode OR connectionFlags['translated'])
)
GROUP BY peer
ORDER BY greatest(bytes_before, bytes_after) DESC
