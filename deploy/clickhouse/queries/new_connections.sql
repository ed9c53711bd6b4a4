-- Which pods open most new connections? New is what was not there in the hour before. The end with the higher port counts
-- as the one that opened.
SELECT
    localNamespace AS namespace,
    localPod AS pod,
    count() AS opened,
    uniqExact(remoteIPv4) AS addresses,
    round(sum(moved) / opened) AS bytes_each
FROM
(
    SELECT
        localNamespace, localPod, localIPv4, localPort, remoteIPv4, remotePort, proto,
        min(intervalStartTime) AS first_seen,
        sum(bytes) AS moved
    FROM network_flows_0
    WHERE intervalStartTime >= now() - INTERVAL 2 HOUR
        AND localPort > remotePort
        AND localPod != ''
    GROUP BY localNamespace, localPod, localIPv4, localPort, remoteIPv4, remotePort, proto
    HAVING first_seen >= now() - INTERVAL 1 HOUR
)
GROUP BY namespace, pod
ORDER BY opened DESC, pod
LIMIT 20
