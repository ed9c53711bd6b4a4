-- Which addresses outside the cloud does a namespace connect to, and since when? Edit the namespace. New addresses come
-- first; check those. Connections from outside are omitted: the column `opened` says which end opened a connection, in a
-- table with 008_opened_and_zone.sql. Of rows without that, those to an address and port of the namespace that was called
-- through a service in this time are omitted, and those whose external end has the higher port while the pod's port is below
-- 32768. The clients of a pod that listens on a higher port without a service are then included by mistake.
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
    AND multiIf(
        has([COLUMNS('^opened$')], 'local'), true,
        has([COLUMNS('^opened$')], 'remote'), false,
        (localIPv4, localIPv6, localPort, proto) IN (dialled), false,
        localPort > remotePort OR localPort >= 32768)
GROUP BY address, port, owner
ORDER BY first_seen DESC, sent DESC
LIMIT 50
