-- Which addresses outside the cloud does a namespace call, and since when? Edit the namespace. A new one is worth a look.
WITH 'batch' AS of_namespace
SELECT
    toString(remoteIPv4) AS address,
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
    AND localPort > remotePort
GROUP BY address, port, owner
ORDER BY first_seen DESC, sent DESC
LIMIT 50
