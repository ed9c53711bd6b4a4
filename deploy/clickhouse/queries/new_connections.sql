-- Which pods open most new connections? New is what was not there in the hour before. Who opened a connection is not stored.
-- An address and port that was dialled through a service in these two hours was called. Where neither end was, the end with
-- the higher port is assumed to have opened, and any end with a port from 32768 on, since both clients and servers (gRPC's
-- 50051) have such ports: of two such ends, both count.
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
            (remoteIPv4, remoteIPv6, remotePort, proto) IN (dialled), true,
            (localIPv4, localIPv6, localPort, proto) IN (dialled), false,
            localPort > remotePort OR localPort >= 32768)
    GROUP BY localNamespace, localPod, localIPv4, localIPv6, localPort, remoteIPv4, remoteIPv6, remotePort, proto
    HAVING first_seen >= now() - INTERVAL 1 HOUR
)
GROUP BY namespace, pod
ORDER BY opened DESC, pod
LIMIT 20
