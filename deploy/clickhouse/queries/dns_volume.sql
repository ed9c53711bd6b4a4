-- How much does each workload ask of DNS? Needs `ignore_udp: false`, else only DNS over TCP is seen. A flow is a socket's
-- questions to one server, often a single one.
SELECT
    localNamespace AS namespace,
    localApp AS app,
    proto,
    uniqExact(localIPv4, localPort, remoteIPv4) AS flows,
    sumIf(packets, direction = 'out') AS questions,
    sumIf(packets, direction = 'in') AS answers,
    sum(bytes) AS moved
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 1 DAY
    AND remotePort = 53
GROUP BY namespace, app, proto
ORDER BY questions DESC, app
LIMIT 20
