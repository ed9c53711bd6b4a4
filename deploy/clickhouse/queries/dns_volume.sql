-- How much DNS traffic does each workload cause? Needs `ignore_udp: false`; otherwise only DNS over TCP is recorded. A
-- flow is all requests of one socket to one server, often a single one. Requests and responses are counted as packets.
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
