-- Which addresses outside the cloud does a namespace call, and since when? Edit the namespace. A new one is worth a look. Who
-- opened a connection is not stored. Left out as visits are connections to an address and port of the namespace that was
-- dialled through a service in this time, and those whose outside end has the higher port while the pod's is below 32768.
-- A pod that listens on a higher port without a service shows its visitors here.
-- Needs 002_extended_columns.sql.
WITH
    'batch' AS of_namespace,
    dialled AS
    (
        SELECT DISTINCT remoteIPv4, remoteIPv6, remotePort, proto
        FROM network_flows_0
        WHERE intervalStartTime >= now() - INTERVAL 7 DAY AND remoteNamespace = of_namespace AND remoteService != ''
    )
SELECT
    if(remoteIPv6 = '::', toString(remoteIPv4), toString(remoteIPv6)) AS address,
    remotePort AS port,
    trim(concat(remoteCloud, ' ', remoteRegion, ' ', remoteCloudService)) AS owner,
    arraySort(groupUniqArray(localApp)) AS apps,
    min(intervalStartTime) AS first_seen,
    sumIf(bytes, direction = 'out') AS sent,
    sumIf(bytes, direction = 'in') AS received
FROM network_flows_0
WHERE intervalStartTime >= now() - INTERVAL 7 DAY
    AND localNamespace = of_namespace
    AND connectionClass = 'PUBLIC_INTERNET'
    AND (localPort > remotePort OR localPort >= 32768)
    AND (localIPv4, localIPv6, localPort, proto) NOT IN (dialled)
GROUP BY address, port, owner
ORDER BY first_seen DESC, sent DESC
LIMIT 50
