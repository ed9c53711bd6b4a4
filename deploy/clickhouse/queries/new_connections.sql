-- Which pods open the most new connections? A connection is new if it had no bytes in the hour before. The column `opened`
-- says which end opened it, in a table with 008_opened_and_zone.sql. For rows without that: if one end's address and port
-- were called through a service within these two hours, that end is the server. If neither end was, the end with the higher
-- port is presumed to have opened the connection, and so is any end with a port from 32768 on, because both clients and
-- servers (gRPC's 50051) use such ports. If both ends have such a port, the connection counts for both.
-- Needs 002_extended_columns.sql.
WITH dialled AS
(
    SELECT DISTINCT remoteIPv4, remoteIPv6, remotePort, proto
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 2 HOUR AND remoteService != ''
)
SELECT
    localNamespace AS namespace,
    localPod AS pod,
    count() AS opened,
    uniqExact(remoteIPv4, remoteIPv6) AS addresses,
    round(sum(moved) / opened) AS bytes_each
FROM
(
    SELECT
        localNamespace, localPod, localIPv4, localIPv6, localPort, remoteIPv4, remoteIPv6, remotePort, proto,
        min(intervalStartTime) AS first_seen,
        sum(bytes) AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 2 HOUR
        AND localPod != ''
        AND multiIf(
            has([COLUMNS('^opened$')], 'local'), true,
            has([COLUMNS('^opened$')], 'remote'), false,
            (remoteIPv4, remoteIPv6, remotePort, proto) IN (dialled), true,
            (localIPv4, localIPv6, localPort, proto) IN (dialled), false,
            localPort > remotePort OR localPort >= 32768)
    GROUP BY localNamespace, localPod, localIPv4, localIPv6, localPort, remoteIPv4, remoteIPv6, remotePort, proto
    HAVING first_seen >= now() - INTERVAL 1 HOUR
)
GROUP BY namespace, pod
ORDER BY opened DESC, pod
LIMIT 20
